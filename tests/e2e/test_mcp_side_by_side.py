"""Clients and a person side by side: a small part of the campaign in bench/clients.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[2] / "bench" / "clients.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_clients_and_a_person_disturb_nobody() -> None:
    """No error surfaces, main is green wherever it stood, the person's work is as it was."""
    argv = [sys.executable, str(CAMPAIGN), "--clients", "3", "--minutes", "0.3", "--seed", "4"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 error, 0 red, 0 lost, 0 stuck" in done.stdout
