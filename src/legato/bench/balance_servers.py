"""Servers of a measurement of the balancer: they answer probes and swallow everything else.

Owns a process with their sockets (`python -m legato.bench.balance_servers KEYS COUNT`), which prints their
tunnel addresses and runs until it is ended. Must not know what is measured.
"""

import selectors
import socket
import sys
from pathlib import Path

from legato._native import EncapsulationKeys
from legato.fleet_keys import FleetKeys

__all__ = ["answer_to_probe", "main"]

RESERVED = bytes.fromhex("1a2a3a4a")


def main(keys_file: str, count: str) -> None:
    """Serve until the process is ended."""
    keys = FleetKeys.load(Path(keys_file)).encapsulation
    with selectors.DefaultSelector() as selector:
        addresses = []
        for _ in range(int(count)):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            selector.register(server, selectors.EVENT_READ)
            addresses.append(f"127.0.0.1:{server.getsockname()[1]}")
        print(" ".join(addresses), flush=True)
        while True:
            for ready, _ in selector.select():
                assert isinstance(ready.fileobj, socket.socket)
                _serve(ready.fileobj, keys)


def _serve(server: socket.socket, keys: EncapsulationKeys) -> None:
    try:
        while True:
            datagram, balancer = server.recvfrom(2048)
            _, client, packet = keys.open(datagram)
            answer = answer_to_probe(packet)
            if answer is not None:
                server.sendto(keys.reply(client, answer), balancer)
    except (BlockingIOError, ValueError):
        return


def answer_to_probe(packet: bytes) -> bytes | None:
    """What a server of QUIC says to a probe (RFC 9000 §6); None for any other packet."""
    if packet[1:5] != RESERVED:
        return None
    theirs, ours = packet[6:14], packet[15:23]
    return b"\x80" + bytes(4) + b"\x08" + ours + b"\x08" + theirs + b"\x00\x00\x00\x01"


if __name__ == "__main__":
    main(*sys.argv[1:])
