"""`legato balance`: what it says when it cannot run, and what its status looks like."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from legato.cli.__main__ import FAILED, MISUSED, main
from legato.cli.balancing.view import show_status
from legato.fleet_keys import FleetKeys


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.keys"
    file.touch(mode=0o600)
    file.write_bytes(FleetKeys.new().dump())
    return file


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs the fleet's keys: make a file with `legato keys new"),
        (["--keys", "{missing}"], "make one with `legato keys new"),
        (["--keys", "{keys}"], "discovery.static needs servers"),
        (["--keys", "{keys}", "--server", "nowhere"], "server 1 of the list is left out: 'nowhere'"),
        (["--keys", "{keys}", "--discovery", "dns"], "discovery.dns.name is missing"),
        (["--keys", "{keys}", "--discovery", "kubernetes"], "discovery.kubernetes.service is missing"),
        (["--keys", "{keys}", "--discovery", "consul"], "'consul' is not in legato.lb.discovery"),
        (
            ["--keys", "{keys}", "--server", "127.0.0.1:1", "--listen", "eth7:443"],
            "'eth7:443' is no IP address",
        ),
        (["--keys", "{keys}", "--server", "127.0.0.1:1", "--allow", "all"], "'all' is no network"),
        (["--config", "{missing}"], "cannot read the settings file"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"keys": keys, "missing": tmp_path / "missing"}
    assert main(["balance", *[word.format(**places) for word in words]]) == MISUSED
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_keys_that_others_may_read_are_refused(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.chmod(0o644)
    assert main(["balance", "--keys", str(keys), "--server", "127.0.0.1:1"]) == MISUSED
    assert f"chmod 600 {keys}" in capsys.readouterr().err


def test_an_address_of_another_machine_is_told(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--keys", str(keys), "--server", "127.0.0.1:1", "--listen", "192.0.2.7:4433"]
    assert main(["balance", *words, "--log-level", "error"]) == FAILED
    assert "cannot listen on UDP 192.0.2.7:4433" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen anywhere")
def test_a_port_without_permission_is_told(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest == 0:
        pytest.skip("this system lets everybody listen everywhere")
    words = ["--keys", str(keys), "--server", "127.0.0.1:1", "--listen", f"127.0.0.1:{lowest - 1}"]
    assert main(["balance", *words]) == FAILED
    assert "NET_BIND_SERVICE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["drain", "127.0.0.1:1"]])
def test_without_a_balancer_operators_are_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", *words, "--admin", "127.0.0.1:1"]) == FAILED
    assert "no balancer answers at 127.0.0.1:1" in capsys.readouterr().err


def test_the_status_is_a_page_for_people() -> None:
    server: dict[str, Any] = {
        "address": "10.0.0.1:4434",
        "state": "draining",
        "state_seconds": 93_784.0,
        "share": 0.25,
        "calls": 3,
        "capacity": 10,
        "probe_ms": 0.42,
        "requests": 12_345,
        "replies": 6,
        "drains_because": "an operator said so",
    }
    silent = server | {"address": "10.0.0.2:4434", "calls": None, "probe_ms": None, "drains_because": None}
    document: dict[str, Any] = {
        "listen": ["0.0.0.0:443"],
        "plane": {
            "name": "xdp",
            "mode": "native",
            "interfaces": ["eth0", "eth1"],
            "why": "the drivers take it",
            "threads": 2,
            "working": 2,
        },
        "keys": {
            "fingerprint": "0123456789ab",
            "generations": [{"number": 4, "stage": "current", "config": 4}],
        },
        "discovery": "static",
        "uptime_seconds": 61.0,
        "servers": [server, silent],
        "packets": {
            "received": 20_000,
            "replies": 6,
            "overflows": 1,
            "passed": 7_654,
            "routes": {"connection_id": 12_345, "derived_address": 0},
            "configs": {"4": 12_345, "5": 0},
            "drops": {"reply_tag": 2, "loop": 0},
        },
        "problems": ["the list has no usable server: the servers known so far are kept"],
    }
    out = io.StringIO()
    show_status(document, Console(file=out, width=120))
    text = out.getvalue()
    for part in (
        "10.0.0.1:4434  draining  1 d 2 h",
        "xdp, native mode on eth0, eth1, before 2 of 2 threads",
        "the drivers take it",
        "7,654",
        "25 %",
        "3 of 10",
        "0.4 ms",
        "12,345",
        "an operator said so",
        "0123456789ab, generation 4 current (config 4)",
        "1 min 1 s",
        "to servers, by connection id",
        "dropped, reply tag",
        "dropped by the system",
        "problem the list has no usable server",
    ):
        assert part in text, part
    assert "loop" not in text
    assert "derived" not in text
    out = io.StringIO()
    show_status(document | {"servers": [], "problems": []}, Console(file=out, width=120))
    assert "none" in out.getvalue()
