"""A port of this machine alone, bound before a server says where it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from self_coding.errors import ConfigError

HOST = "127.0.0.1"


@contextmanager
def bound(port: int) -> Iterator[socket.socket]:
    """Open a socket that is bound to a port on loopback; 0 takes a free one.

    Bound here and not by uvicorn, so that an address is told only once the port is ours.

    Raises:
        ConfigError: the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as ours:
        # Or a restart would wait a minute for the connections of the last one to be forgotten.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((HOST, port))
        except OSError as error:
            message = f"cannot bind port {port} on {HOST}: {error.strerror}"
            raise ConfigError(message, hint="choose another port") from error
        yield ours
