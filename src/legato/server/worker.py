"""What a worker process and its parent tell each other: number, sockets and secrets there, "ready" back.

Owns the message and the socket it crosses, whose end also tells a worker that its parent is gone. It must not
know how processes are started, nor how they serve.
"""

import socket
from dataclasses import dataclass
from typing import Any

import msgspec

from legato.core.errors import SettingsError

__all__ = ["Orders", "Worker"]

_MOST_BYTES = 1 << 16
_READY = b"ready"


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a parent tells one of its workers."""

    number: int
    """Which one it is, from 0."""
    count: int
    """How many there are."""
    udp: tuple[int, ...]
    """Descriptors of this worker's own UDP sockets, one of each address."""
    tcp: tuple[int, ...]
    """Descriptors of the listening TCP sockets, which all workers share."""
    steering: bytes
    """The key by which connection IDs lead to workers."""
    keys: bytes
    """Content of a file with a fleet's keys, for a server that has none: its workers are the fleet."""
    flags: dict[str, Any]
    """The settings that the command line gives, by dotted key."""
    config: str | None
    """The settings file that the command line names."""
    announce: bool
    """Whether to tell people at the terminal where the server listens."""


@dataclass(frozen=True)
class Worker:
    """A worker's end of the line to its parent."""

    orders: Orders
    line: socket.socket

    @classmethod
    def answer(cls, descriptor: int) -> "Worker":
        """Take the orders. Raises `SettingsError` when nobody gives any."""
        line = None
        try:
            line = socket.socket(fileno=descriptor)
            orders = msgspec.json.decode(line.recv(_MOST_BYTES), type=Orders)
        except (OSError, ValueError):
            if line is not None:
                line.close()
            raise SettingsError(
                "--worker is for `legato serve --workers`, which starts its workers itself"
            ) from None
        line.setblocking(False)
        return cls(orders, line)

    @staticmethod
    def order(line: socket.socket, orders: Orders) -> None:
        """The parent's half: tell a worker what it is."""
        line.sendall(msgspec.json.encode(orders))

    def ready(self) -> None:
        """Tell the parent that calls are answered."""
        try:
            self.line.sendall(_READY)
        except OSError:
            # It is gone, which the line's end tells as well.
            return
