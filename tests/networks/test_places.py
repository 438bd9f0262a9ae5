"""Real programs in two places: the link is the only way, and does what its file says to TCP and UDP."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legato.bench.places import Link, LinkUnavailableError, join
from legato.bench.processes import child
from legato.core.errors import SettingsError

PEER = str(Path(__file__).with_name("peer.py"))
PORT = 4000
Network = Callable[..., Link]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@contextlib.contextmanager
def server(link: Link) -> Iterator[None]:
    """An echo server in the server's place."""
    with child("the echo server", link.server.command([sys.executable, PEER, "serve", str(PORT)])) as process:
        assert process.readline() == "ready"
        yield


def client(link: Link, role: str, address: str, *words: object) -> Any:
    """Run the client in its place and return what it saw."""
    command = [sys.executable, PEER, role, address, str(PORT), *map(str, words)]
    done = subprocess.run(link.client.command(command), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("wire", ["tun", "veth"])
def test_udp_and_tcp_take_the_delay_in_either_family(network: Network, wire: str) -> None:
    link = network("clean", wire=wire)
    assert link.wire == wire
    with server(link):
        for address in filter(None, (link.server.ipv4, link.server.ipv6)):
            answers = client(link, "udp", address, 40, 5)
            assert [answer[0] for answer in answers] == list(range(40))
            assert min(answer[1] for answer in answers) >= 25
            assert 25 <= statistics.median(answer[1] for answer in answers) < 35
            assert min(answer[2] for answer in answers) >= 50
            connected, took, counted = client(link, "tcp", address, 2_000_000)
            assert counted == 2_000_000
            assert connected >= 50
            assert took >= 100
    link.close()
    for direction in ("up", "down"):
        seen = link.statistics[direction]
        assert seen["packets"] == seen["delivered"] + seen["under_way"] > 80
        assert seen["dropped_by_kernel"] == seen["refused"] == 0


def test_what_is_lost_stays_lost_and_tcp_repairs_it(network: Network) -> None:
    link = network("lossy", seed=4)
    with server(link):
        answers = client(link, "udp", link.server.ipv4, 300, 2)
        assert client(link, "tcp", link.server.ipv4, 100_000)[2] == 100_000
    link.close()
    up, down = link.statistics["up"], link.statistics["down"]
    # Both directions lose 10 %: 81 % of the answers, give or take four standard deviations.
    assert 0.72 * 300 < len(answers) < 0.90 * 300
    assert up["lost"] > 0 < down["lost"]
    assert up["packets"] == up["delivered"] + up["lost"] + up["under_way"]


def test_the_server_sees_a_rebound_client_at_its_new_port_and_address(
    network: Network, tmp_path: Path
) -> None:
    story = tmp_path / "story.toml"
    story.write_text(
        'about = "A NAT that forgets twice"\n[both]\ndelay_ms = 5\n'
        '[[event]]\nat_ms = 400\nrebind = "port"\n[[event]]\nat_ms = 800\nrebind = "address"\n'
    )
    link = network(str(story))
    with server(link):
        link.begin()
        answers = client(link, "udp", link.server.ipv4, 120, 10)
    seen = list(dict.fromkeys(tuple(answer[3]) for answer in answers))
    assert [ip for ip, _ in seen] == ["10.77.1.2", "10.77.1.2", "10.77.101.2"]
    assert len({port for _, port in seen}) == 3
    # An answer that was under way to the old port when it changed is gone, and nothing else.
    assert 120 - len(answers) <= 6
    changes = [link.next_change(), link.next_change()]
    assert [(c["rebound_ports"], c["rebound_addresses"]) for c in changes] == [(1, 0), (1, 1)]
    assert 400 <= changes[0]["at_ms"] < 450


def test_a_client_that_roams_has_another_address_of_its_own(network: Network, tmp_path: Path) -> None:
    story = tmp_path / "story.toml"
    story.write_text('about = "From one net to another"\n[[event]]\nat_ms = 100\nroam = true\n')
    link = network(str(story))
    show = link.client.command(["cat", "/proc/net/fib_trie"])
    assert "10.77.1.2" in subprocess.run(show, capture_output=True, text=True, check=True).stdout
    with server(link):
        link.begin()
        assert link.next_change()["client"] == "10.77.2.2"
        answers = client(link, "udp", link.server.ipv4, 30, 10)
        addresses = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert answers[-1][3][0] == "10.77.2.2"
    assert "10.77.2.2" in addresses
    assert "10.77.1.2" not in addresses


def test_there_is_no_other_way_out(network: Network) -> None:
    link = network("clean")
    routes = subprocess.run(
        link.client.command(["cat", "/proc/net/dev"]), capture_output=True, text=True, check=True
    ).stdout
    assert {line.partition(":")[0].strip() for line in routes.splitlines()[2:]} == {"lo", "net0"}


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_works_for_an_ordinary_user() -> None:
    nobody = 65534
    program = Path(sys.executable).with_name("legato-netem")
    with tempfile.TemporaryDirectory() as folder:
        # The environment may lie where nobody else may look.
        Path(folder).chmod(0o755)
        copy = shutil.copy(program, folder)
        command = [copy, "hold", "clean"]
        pipe = subprocess.PIPE
        holder = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            user=nobody,
            group=nobody,
            extra_groups=[],
        )
        assert holder.stdout is not None
        assert holder.stderr is not None
        line = holder.stdout.readline()
        if not line:
            pytest.skip(holder.communicate()[1].strip())
        ready = json.loads(line)
        entrance = [copy, "in", ready["user_namespace"], ready["client"]["namespace"], "--"]
        seen = subprocess.run(
            [*entrance, "cat", "/proc/self/uid_map", "/proc/net/fib_trie"],
            capture_output=True, text=True, user=nobody, group=nobody, extra_groups=[],
        )  # fmt: skip
        out, errors = holder.communicate()
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.split()[:3] == ["0", str(nobody), "1"]
    assert "10.77.1.2" in seen.stdout
    assert holder.returncode == 0, errors
    assert json.loads(out)["event"] == "done"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trian", 'there is no network "trian"; there are blip, '),
        ("/nowhere/x.toml", "/nowhere/x.toml cannot be read: No such file"),
        ("wrong.toml", "wrong.toml: missing field `about`"),
    ],
)
def test_a_wrong_network_is_one_sentence(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text("[both]\n")
    with pytest.raises(SettingsError) as caught, join(name):
        pass
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_without_the_program_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LinkUnavailableError, match="make setup"), join("clean"):
        pass
