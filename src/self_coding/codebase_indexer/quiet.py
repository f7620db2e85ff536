"""Long work whose many small values are not cyclic, without Python's collector of cycles.

It would walk all of them again and again and find nothing: a tenth of the time. No effect but that.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collections() -> Iterator[None]:
    """The collector sleeps meanwhile, where it was awake."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
