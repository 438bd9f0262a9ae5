"""The arithmetic of `legato bench balance`, and its clients."""

import socket

import pytest

from legato.bench import balance
from legato.bench.balance_clients import PAYLOAD, send_from


def rounds(**values: list[float]) -> balance.Rounds:
    return {name: [{"nanoseconds": one, "p99_us": one} for one in each] for name, each in values.items()}


def test_rounds_are_compared_one_by_one() -> None:
    """Noise of the machine meets contenders in the same round; a ratio of medians would mix rounds."""
    assert balance._ratio(rounds(plane=[1, 30, 4], nginx=[2, 40, 16])) == 0.5
    assert balance._added(rounds(plane=[5, 900, 7], direct=[1, 880, 6]), "plane", "p99_us") == 4


def test_every_client_has_an_address_of_its_own() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as balancer:
        balancer.bind(("127.0.0.1", 0))
        balancer.settimeout(20)
        assert send_from(balancer.getsockname(), 20) == 20
        received = [balancer.recvfrom(2048) for _ in range(20)]
    assert {len(packet) for packet, _ in received} == {PAYLOAD}
    assert len({address[0] for _, address in received}) == 20
    assert len({packet[1:18] for packet, _ in received}) == 20


def test_without_nginx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(balance.BenchError, match="apt-get install nginx"):
        balance.balance()
