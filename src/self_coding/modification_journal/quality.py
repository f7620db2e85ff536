"""How good the journal's memory is, as numbers that it prints itself."""

from __future__ import annotations

from self_coding.adapters.db import Database


def measure(database: Database) -> dict[str, float]:
    """The number of lessons and the share of them that is junk, duplicate or never used."""
    with database.read() as connection:
        total = int(connection.execute("SELECT count(*) FROM lesson").fetchone()[0])
        unused = connection.execute(
            "SELECT count(*) FROM lesson WHERE id NOT IN (SELECT lesson FROM lesson_use)"
        ).fetchone()[0]
    share = 1 / total if total else 0.0
    return {"lessons": total, "never_used": unused * share}
