"""Searches the stored vectors of past tasks by numpy, in bounded time.

Only when an embedder is configured: the words alone do as well on the benchmark. The newest
vectors of one model are held as one matrix, which grows as rows are added; vectors of another
model or dimension are not compared.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from self_coding.adapters.db import Connection
from self_coding.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEWEST = 100_000  # vectors that are compared; older ones are found by their words


class Nearest:
    """The newest vectors of one model, ready to be compared."""

    def __init__(self, model: str, dimension: int) -> None:
        self.model = model
        self.dimension = dimension
        self._lock = threading.Lock()
        self._last = 0
        self._rows: list[int] = []
        self._parts: list[NDArray[np.float32]] = []

    def search(
        self, connection: Connection, wanted: Sequence[float], limit: int
    ) -> dict[int, float]:
        """The rows whose vectors lie nearest, with their cosine."""
        try:
            import numpy as np
        except ImportError as error:
            raise MissingExtraError("embed", "searching by vectors") from error
        with self._lock:
            self._catch_up(connection)
            if not self._rows:
                return {}
            if len(self._parts) > 1:
                self._parts = [np.vstack(self._parts)]
            matrix = self._parts[0]
            mine = np.asarray(wanted, dtype=np.float32)
            mine /= max(float(np.linalg.norm(mine)), 1e-9)
            cosines = matrix @ mine
            best = np.argsort(-cosines)[:limit]
            return {self._rows[at]: float(cosines[at]) for at in best.tolist()}

    def _catch_up(self, connection: Connection) -> None:
        """Take in what was stored since the last search."""
        import numpy as np

        newer = connection.execute(
            "SELECT attempt, body FROM vector WHERE attempt > ? AND model = ? AND dimension = ? "
            "ORDER BY attempt DESC LIMIT ?",
            (self._last, self.model, self.dimension, NEWEST),
        ).fetchall()[::-1]
        sound = [(row, body) for row, body in newer if len(body) == 4 * self.dimension]
        if not sound:
            return
        raw = np.frombuffer(b"".join(body for _, body in sound), dtype=np.float32)
        added = raw.reshape(len(sound), self.dimension)
        lengths = np.linalg.norm(added, axis=1, keepdims=True)
        self._parts.append(added / np.maximum(lengths, 1e-9))
        self._rows += [row for row, _ in sound]
        self._last = self._rows[-1]
        if len(self._rows) > 2 * NEWEST:
            self._parts = [np.vstack(self._parts)[-NEWEST:]]
            self._rows = self._rows[-NEWEST:]
