"""The delay relay delays, keeps order and loses nothing."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from legato.bench.processes import child, free_port, module

ONE_WAY_MS = 20


@contextlib.contextmanager
def relay(kind: str, server: int) -> Iterator[tuple[str, int]]:
    """A relay in front of a port."""
    port = free_port()
    command = module("legato.bench.delay_relay", kind, str(port), str(server), str(ONE_WAY_MS))
    with child("the relay", command) as process:
        assert process.readline() == "ready"
        yield ("127.0.0.1", port)


def test_datagrams_take_the_delay_each_way_and_keep_their_order() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        client.settimeout(10)
        with relay("udp", server.getsockname()[1]) as address:
            start = time.monotonic()
            for number in range(10):
                client.sendto(bytes([number]), address)
            for number in range(10):
                data, sender = server.recvfrom(100)
                assert data == bytes([number])
                server.sendto(data, sender)
            assert time.monotonic() - start >= ONE_WAY_MS / 1000
            assert [client.recv(100)[0] for _ in range(10)] == list(range(10))
            assert time.monotonic() - start >= 2 * ONE_WAY_MS / 1000


def test_a_tcp_connection_takes_one_round_trip_before_its_first_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, relay("tcp", server.getsockname()[1]) as address:
        server.settimeout(10)
        start = time.monotonic()
        with socket.create_connection(address, 10) as client:
            client.sendall(b"hello")
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                assert accepted.recv(100) == b"hello"
                assert time.monotonic() - start >= 3 * ONE_WAY_MS / 1000
                accepted.sendall(b"and back")
                assert client.recv(100) == b"and back"
                assert time.monotonic() - start >= 4 * ONE_WAY_MS / 1000
                accepted.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b""


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_relay_ends_when_told(kind: str) -> None:
    with relay(kind, free_port()):
        pass
