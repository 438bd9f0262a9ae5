"""How long a packet is under way to a server, directly and through a balancer, turn and turn about.

Owns the measuring. Both ways alternate packet by packet, so that whatever else the machine does meets both
alike. The kernel notes when a packet reaches the server's socket: how long the server's own thread sleeps
counts for neither. Must not know how a balancer is started.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable

from legato._native import EncapsulationKeys
from legato.bench.balance_servers import answer_to_probe

__all__ = ["DelayServer", "measure_delay"]

PAYLOAD = 120
APART_S = 0.002
Take = Callable[[bytes, tuple[str, int], int], None]
"""What is done with a datagram: octets, where from, when."""

LAST_S = 0.5
"""How long packets may be under way when the last one is sent."""

ARRIVAL = 35
"""SO_TIMESTAMPNS of Linux, as an option and as what then comes with a datagram: seconds and nanoseconds."""

_ARRIVED = struct.Struct("@ll")


class DelayServer:
    """A server that notes when packets arrive, at its tunnel and beside it."""

    def __init__(self, keys: EncapsulationKeys) -> None:
        """Begin to listen, in a thread of its own."""
        self.direct_us: list[float] = []
        self.balanced_us: list[float] = []
        self._keys = keys
        self._tunnel, self._plain = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for made in (self._tunnel, self._plain):
            made.setsockopt(socket.SOL_SOCKET, ARRIVAL, 1)
            made.bind(("127.0.0.1", 0))
        self._threads = [
            threading.Thread(target=self._serve, args=each, daemon=True)
            for each in ((self._tunnel, self._balanced), (self._plain, self._direct))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def tunnel(self) -> str:
        """Where balancers reach it."""
        return f"127.0.0.1:{self._tunnel.getsockname()[1]}"

    @property
    def plain(self) -> tuple[str, int]:
        """Where packets come directly."""
        host, port = self._plain.getsockname()
        return host, port

    def close(self) -> None:
        """Stop listening."""
        for made, thread in zip((self._tunnel, self._plain), self._threads, strict=True):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", made.getsockname())
            thread.join()
            made.close()

    def _serve(self, listening: socket.socket, take: Take) -> None:
        while True:
            datagram, notes, _, source = listening.recvmsg(2048, socket.CMSG_SPACE(_ARRIVED.size))
            if not datagram:
                return
            seconds, nanoseconds = _ARRIVED.unpack(notes[0][2])
            take(datagram, source, seconds * 1_000_000_000 + nanoseconds)

    def _direct(self, datagram: bytes, _: tuple[str, int], arrived_ns: int) -> None:
        self.direct_us.append(_under_way_us(datagram, arrived_ns))

    def _balanced(self, datagram: bytes, balancer: tuple[str, int], arrived_ns: int) -> None:
        with contextlib.suppress(ValueError):
            _, client, packet = self._keys.open(datagram)
            answer = answer_to_probe(packet)
            if answer is None:
                self.balanced_us.append(_under_way_us(packet, arrived_ns))
            else:
                self._tunnel.sendto(self._keys.reply(client, answer), balancer)


def measure_delay(server: DelayServer, balancer: tuple[str, int], packets: int) -> None:
    """Send so many packets each way, one every two milliseconds; `server` has the delays afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        head = b"\x40\xe7" + os.urandom(16) + bytes(PAYLOAD - 26)
        for number in range(2 * packets):
            time.sleep(APART_S / 2)
            target = balancer if number % 2 else server.plain
            sender.sendto(head + time.time_ns().to_bytes(8, "big"), target)
    time.sleep(LAST_S)


def _under_way_us(packet: bytes, arrived_ns: int) -> float:
    return (arrived_ns - int.from_bytes(packet[-8:], "big")) / 1000
