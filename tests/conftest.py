"""What every test needs of the process it runs in."""

from __future__ import annotations

import signal

# A shell starts a background job with SIGINT ignored, and children inherit that: a test that
# interrupts a child would then wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
