"""Big texts, compressed and stored once however many attempts hold them.

The caller's transaction decides whether a text stays; this module never begins one.
"""

from __future__ import annotations

import hashlib
import zlib

from self_coding.adapters.db import Connection

INLINE = 1500  # characters; a shorter text stands in its own row


def put(connection: Connection, text: str) -> int:
    """Store `text` unless it is there already; its number."""
    raw = text.encode("utf-8")
    digest = hashlib.blake2b(raw, digest_size=16).digest()
    found = connection.execute("SELECT id FROM blob WHERE digest = ?", (digest,)).fetchone()
    if found:
        return int(found[0])
    body = zlib.compress(raw, 1)
    row = connection.execute(
        "INSERT INTO blob (digest, body) VALUES (?, ?) RETURNING id", (digest, body)
    ).fetchone()
    return int(row[0])


def get(connection: Connection, number: int) -> str:
    """The text of that number; a marked gap where it is gone or damaged."""
    found = connection.execute("SELECT body FROM blob WHERE id = ?", (number,)).fetchone()
    if not found:
        return "[this text is missing from the journal]"
    try:
        return zlib.decompress(found[0]).decode("utf-8")
    except (zlib.error, UnicodeDecodeError, TypeError):
        return "[this text is damaged in the journal]"
