"""A TCP connection that carries voice: how its socket is set, and how its ends are written.

Owns socket options; must not know what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["UNREAD_IN_KERNEL_BYTES", "UNSENT_IN_KERNEL_BYTES", "end_text", "tune"]

UNSENT_IN_KERNEL_BYTES = 16 * 1024
"""What the kernel takes beyond what the network takes now: what it has can no longer be held back."""

UNREAD_IN_KERNEL_BYTES = 128 * 1024
"""What the kernel takes of a peer that is not read from, about. Pings wait behind it, and where audio is read
no faster than it is due, they must not wait for longer than the peer does."""

UNACKNOWLEDGED_MS = 60_000
"""How long what was sent may go without any acknowledgement before the kernel gives the connection up."""


def tune(transport: asyncio.BaseTransport) -> None:
    """Send small messages at once, leave what the network does not take yet with the sender, and notice a
    peer that is gone."""
    tcp = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):  # not a TCP socket, or not on this system
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_IN_KERNEL_BYTES)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL_BYTES)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def end_text(transport: asyncio.BaseTransport, which: str) -> str:
    """Write an end of a connection ("peername", "sockname") as ``host:port``; "" if it has no such name."""
    address = transport.get_extra_info(which)
    if not isinstance(address, tuple) or len(address) < 2:
        return ""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
