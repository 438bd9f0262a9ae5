"""The arithmetic of `legato bench balance`, and its clients."""

import socket
from pathlib import Path

import pytest

from legato.bench import balance, balance_kernel
from legato.bench.balance_clients import PAYLOAD, send_from
from legato.bench.balance_delay import DelayServer, measure_delay
from legato.bench.balance_kernel import Kernel
from legato.fleet_keys import FleetKeys
from legato.lb.version_probe import VersionProbe


def rounds(**values: list[float]) -> balance.Rounds:
    return {name: [{"nanoseconds": one} for one in each] for name, each in values.items()}


def test_rounds_are_compared_one_by_one() -> None:
    """Noise of the machine meets contenders in the same round; a ratio of medians would mix rounds."""
    assert balance._ratio(rounds(plane=[1, 30, 4], nginx=[2, 40, 16])) == 0.5


def test_the_kernel_is_compared_with_itself_and_with_nginx() -> None:
    means = {"plaintext": 200.0, "encrypted": 300.0, "four_pass": 400.0, "hashed": 400.0, "reply": 400.0}
    rounds = {
        kind: [{"nanoseconds": mean + noise, "program_nanoseconds": 90.0} for noise in (0.0, 1e6, 0.0)]
        for kind, mean in means.items()
    }
    kernel = Kernel(rounds)
    figures = {figure.name: figure for figure in kernel.figures(nginx_ns=3000.0)}
    ratio = figures["XDP, encrypted as a multiple of plaintext"]
    assert (ratio.value, ratio.within) == (1.5, True)
    share = figures["XDP, encrypted as a share of nginx's"]
    assert (share.value, share.within) == (pytest.approx(0.1), True)
    assert figures["XDP, CPU per packet, replies"].baseline == 3000.0
    assert "veth" in kernel.note


def test_what_cannot_be_measured_in_the_kernel_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: str) -> str:
        raise balance.BenchError("xdp_bench failed: root is needed")

    there = tmp_path / "program.o"
    there.touch()
    for program, sentence in ((tmp_path / "missing.o", "there is no clang"), (there, "root is needed")):
        monkeypatch.setattr(balance_kernel, "PROGRAM", program)
        kernel = balance_kernel.measure_kernel(refuse, lambda _: "{}")
        assert kernel.figures(1.0) == []
        assert sentence in kernel.note


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
