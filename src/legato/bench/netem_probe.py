"""What `legato bench netem` runs in the two places: senders with a clock in every packet, and receivers.

Owns the sockets of a probe. Both ends are on one machine and share CLOCK_MONOTONIC, so a one-way delay is a
difference. Runs as a process and prints one JSON object:

    python -m legato.bench.netem_probe receive PORT     delays of datagrams, until a second of silence
    python -m legato.bench.netem_probe sink PORT        bytes and time of one TCP connection
    python -m legato.bench.netem_probe pace ADDRESS PORT COUNT INTERVAL_US SIZE
    python -m legato.bench.netem_probe bulk ADDRESS PORT BYTES
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

__all__: list[str] = []

_STAMP = struct.Struct("!q")
_SILENCE_S = 1.0
_FIRST_S = 20.0
_CHUNK = 1 << 16


def _receive(port: int) -> dict[str, object]:
    """The delay of each datagram in µs, and the bytes per second between the first and the last."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind(("0.0.0.0", port))
        print("ready", flush=True)
        receiver.settimeout(_FIRST_S)
        delays: list[float] = []
        times: list[int] = []
        size = 0
        try:
            while True:
                data = receiver.recv(2048)
                now = time.monotonic_ns()
                delays.append((now - _STAMP.unpack_from(data)[0]) / 1000)
                times.append(now)
                size = len(data)
                receiver.settimeout(_SILENCE_S)
        except TimeoutError:
            pass
    seconds = (times[-1] - times[0]) / 1e9 if len(times) > 1 else 0.0
    rate = (len(times) - 1) * size / seconds if seconds else 0.0
    return {"delays_us": delays, "bytes_per_second": rate}


def _sink(port: int) -> dict[str, object]:
    """What one connection brought, without its first chunk, and how long that took."""
    with socket.create_server(("0.0.0.0", port)) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        with connection:
            connection.recv(_CHUNK)
            started, total = time.monotonic_ns(), 0
            while data := connection.recv(_CHUNK):
                total += len(data)
            seconds = (time.monotonic_ns() - started) / 1e9
    return {"bytes": total, "seconds": seconds}


def _pace(address: str, port: int, count: int, interval_us: int, size: int) -> dict[str, object]:
    """Send datagrams at even times, each with the time it was sent."""
    filling = bytes(size - _STAMP.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        start = time.monotonic_ns()
        for number in range(count):
            wait = start + number * interval_us * 1000 - time.monotonic_ns()
            if wait > 0:
                time.sleep(wait / 1e9)
            sender.send(_STAMP.pack(time.monotonic_ns()) + filling)
    return {"sent": count}


def _bulk(address: str, port: int, size: int) -> dict[str, object]:
    """Send bytes as fast as TCP takes them."""
    with socket.create_connection((address, port), _FIRST_S) as connection:
        connection.sendall(bytes(size))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return {"sent": size}


def _main(role: str, words: list[str]) -> None:
    if role == "receive":
        seen = _receive(int(words[0]))
    elif role == "sink":
        seen = _sink(int(words[0]))
    elif role == "pace":
        seen = _pace(words[0], *map(int, words[1:]))
    else:
        seen = _bulk(words[0], *map(int, words[1:]))
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
