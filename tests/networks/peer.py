"""What runs in the places: an echo server for UDP and TCP, and a client that asks it. It prints JSON.

    python peer.py serve PORT
    python peer.py udp ADDRESS PORT COUNT INTERVAL_MS
    python peer.py tcp ADDRESS PORT BYTES

The server answers a datagram with whom it saw and the datagram; it counts the bytes of a TCP connection and
answers with the sum at its end.
"""

import contextlib
import json
import socket
import sys
import threading
import time


def main() -> None:
    role, *words = sys.argv[1:]
    if role == "serve":
        serve(int(words[0]))
    elif role == "udp":
        ask(words[0], int(words[1]), int(words[2]), float(words[3]) / 1000)
    else:
        send(words[0], int(words[1]), int(words[2]))


def serve(port: int) -> None:
    """Answer on every address until ended."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=count, args=(listener,), daemon=True).start()
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("::", port))
    print("ready", flush=True)
    while True:
        data, sender = datagrams.recvfrom(2048)
        seen = [sender[0].removeprefix("::ffff:"), sender[1]]
        datagrams.sendto(json.dumps([int(data), time.monotonic_ns(), seen]).encode(), sender)


def count(listener: socket.socket) -> None:
    """Count what each connection brings, one after the other."""
    while True:
        connection, _ = listener.accept()
        total = 0
        while data := connection.recv(1 << 16):
            total += len(data)
        connection.sendall(str(total).encode())
        connection.close()


def ask(address: str, port: int, count: int, interval: float) -> None:
    """Send numbered datagrams and print each answer: number, one-way and round-trip ms, whom it saw."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    asker = socket.socket(family, socket.SOCK_DGRAM)
    sent = {}
    answers = []

    def listen(until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            asker.settimeout(left)
            with contextlib.suppress(TimeoutError, ConnectionError):
                number, arrived, seen = json.loads(asker.recv(2048))
                now = time.monotonic_ns()
                answers.append([number, (arrived - sent[number]) / 1e6, (now - sent[number]) / 1e6, seen])

    for number in range(count):
        sent[number] = time.monotonic_ns()
        with contextlib.suppress(OSError):
            asker.sendto(b"%d" % number, (address, port))
        listen(sent[number] / 1e9 + interval)
    listen(time.monotonic() + 1.0)
    print(json.dumps(answers), flush=True)


def send(address: str, port: int, size: int) -> None:
    """Send bytes over TCP; print how long connecting took, how long all took, and what the server counted."""
    started = time.monotonic()
    connection = socket.create_connection((address, port), 20)
    connected = time.monotonic()
    connection.sendall(bytes(size))
    connection.shutdown(socket.SHUT_WR)
    counted = b""
    while data := connection.recv(100):
        counted += data
    ended = time.monotonic()
    times = [(connected - started) * 1000, (ended - started) * 1000]
    print(json.dumps([*times, int(counted)]), flush=True)


if __name__ == "__main__":
    main()
