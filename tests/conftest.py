"""What every test needs of the process it runs in."""

from __future__ import annotations

import signal

import pytest

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
