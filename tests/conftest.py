"""What every test needs of the process it runs in."""

from __future__ import annotations

import os
import signal

import pytest

# Hundreds of tests start our command line, and an installation that can be edited has no bytecode:
# where a container's image forbids to keep it, each of them would compile the whole of it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell starts a background job with SIGINT ignored, and children inherit that: a test that
# interrupts a child would then wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_place(request, tmp_path):
    """Where a journal can be: a file, and a schema of a PostgreSQL server."""
    if request.param == "sqlite":
        return tmp_path / "j.db"
    from journal_stores import address

    return address()
