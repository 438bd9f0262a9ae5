"""The arithmetic of `legato bench balance`, and its clients."""

import socket

import pytest

from legato.bench import balance
from legato.bench.balance_clients import PAYLOAD, send_from
from legato.bench.balance_delay import DelayServer, measure_delay
from legato.fleet_keys import FleetKeys
from legato.lb.version_probe import VersionProbe


def rounds(**values: list[float]) -> balance.Rounds:
    return {name: [{"nanoseconds": one} for one in each] for name, each in values.items()}


def test_rounds_are_compared_one_by_one() -> None:
    """Noise of the machine meets contenders in the same round; a ratio of medians would mix rounds."""
    assert balance._ratio(rounds(plane=[1, 30, 4], nginx=[2, 40, 16])) == 0.5


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
    monkeypatch.setattr(balance, "PROGRAMS", "")
    with pytest.raises(balance.BenchError, match="apt-get install nginx"):
        balance.balance()


def test_delays_are_those_of_packets_and_probes_are_answered() -> None:
    keys = FleetKeys.new().encapsulation
    server = DelayServer(keys)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as balancer:
            balancer.bind(("127.0.0.1", 0))
            balancer.settimeout(20)
            host, _, port = server.tunnel.rpartition(":")
            probe = VersionProbe(bytes(range(16)))
            balancer.sendto(keys.request(("127.0.0.1", 9), probe.packet()), (host, int(port)))
            is_reply, client, answer = keys.open(balancer.recv(2048))
            measure_delay(server, balancer.getsockname(), 5)
            for _ in range(5):
                packet = balancer.recv(2048)
                balancer.sendto(keys.request(("127.0.0.1", 9), packet), (host, int(port)))
    finally:
        server.close()
    assert (is_reply, client) == (True, ("127.0.0.1", 9))
    assert probe.answers(answer)
    assert len(server.direct_us) == len(server.balanced_us) == 5
    assert 0 < min(server.direct_us) < min(server.balanced_us)
