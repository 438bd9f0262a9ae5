"""Tells when addresses or routes of this machine change, so that nobody waits on one that is gone.

Owns the question to the kernel (rtnetlink(7) on Linux; elsewhere a look once a second). Must not know
connections, nor what they do about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

__all__ = ["NetworkWatch", "is_here"]

_GROUPS = 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE and the same of IPv6."""

_READ_BYTES = 65_536
LOOK_S = 1.0


class NetworkWatch:
    """Calls `on_change` on the running event loop whenever something changed; often more than once."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """Begin to watch."""
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._socket = _subscribed()
        if self._socket is not None:
            self._loop.add_reader(self._socket, self._read)
        else:
            self._look()

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read(self) -> None:
        # What is read does not matter, nor that some was dropped (ENOBUFS): whoever listens looks for itself.
        with contextlib.suppress(OSError):
            while self._socket is not None and self._socket.recv(_READ_BYTES):
                pass
        self._on_change()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        self._on_change()


def is_here(host: str) -> bool:
    """Whether `host` is an address of this machine at this moment, so that something may be sent from it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _subscribed() -> socket.socket | None:
    """A socket that becomes readable with every change; None where the system has none."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    made = None
    try:
        made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        made.bind((0, _GROUPS))
    except OSError:
        if made is not None:
            made.close()
        return None
    return made
