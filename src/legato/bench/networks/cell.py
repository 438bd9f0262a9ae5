"""One network with one way of carrying calls, from nothing to raw observations.

Owns the order in which things are started and the files they leave; must not judge what was seen. Runs as a
process, so that several may be under way at once and end cleanly; prints one JSON object:

    python -m legato.bench.networks.cell NETWORK ARM SEED TRACKS FOLDER
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from legato.bench.networks.caller import KEY
from legato.bench.networks.cases import ALL, ARMS, ON_TIME, Arm, Case, late_ms
from legato.bench.networks.congestion import under
from legato.bench.networks.ear import FOLDER
from legato.bench.places import Link, join, wait_until_it_listens
from legato.bench.processes import (
    BenchError,
    Child,
    Identity,
    child,
    end_when_terminated,
    module,
    temporary_identity,
)
from legato.core.errors import LegatoError
from legato.server.development_key import keep_development_key

__all__ = ["cell_command", "hold"]

PORT = 4433
CONGESTION: dict[Arm, str] = {"websocket-cubic": "cubic", "websocket-bbr": "bbr"}
"""That of the kernel, where it is the kernel's; QUIC brings its own."""


def cell_command(case: Case, arm: Arm, seed: int, tracks: Path, folder: Path) -> list[str]:
    """The command line that runs this cell."""
    return module("legato.bench.networks.cell", case.network, arm, str(seed), str(tracks), str(folder))


def hold(case: Case, arm: Arm, seed: int, tracks: Path, folder: Path) -> dict[str, Any]:
    """Hold the calls; returns what was seen at both ends. Raises `BenchError`."""
    folder.mkdir(parents=True)
    congestion = CONGESTION.get(arm)
    with join(case.network, seed=seed) as link, temporary_identity() as identity:
        _require(link, congestion)
        key = keep_development_key(folder / "legato")
        serve = module(
            "legato.cli",
            "serve",
            *("--host", link.server.ipv4, "--port", str(PORT), "--drain-seconds", "0"),
            *("--agent", "legato.bench.networks.ear:build"),
            *("--cert", str(identity.certificate), "--key", str(identity.key)),
        )
        environment = {FOLDER: str(folder), "XDG_STATE_HOME": str(folder)}
        command = link.server.command(under(congestion, serve))
        with child("the server", command, cores=(), **environment) as server:
            wait_until_it_listens(server.process, PORT)
            begun_us, calls = _call(link, server, _callers(link, identity, case, arm, tracks), key)
            words = server.last_words() if any(call["failed"] for call in calls) else ""
        wire = link.wire
    for call in calls:
        path = folder / f"{call['name']}.json"
        call["ear"] = json.loads(path.read_text()) if path.exists() else None
    return {
        "network": case.network,
        "arm": arm,
        "begun_us": begun_us,
        "calls": calls,
        "wire": wire,
        "rootless": link.rootless,
        "packets": link.statistics,
        "server_said": words,
    }


def _put_first(measured: Child) -> None:
    """Let the threads of a process come before other work of the machine, where that is allowed.

    They sleep nearly always, and what they are late by would be taken for the network's doing.
    """
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{measured.pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _require(link: Link, congestion: str | None) -> None:
    if congestion is None:
        return
    words = module("legato.bench.networks.congestion", "--possible", congestion)
    for place in (link.client, link.server):
        if subprocess.run(place.command(words), check=False).returncode:
            raise BenchError(f"this kernel, or this user, has no congestion control {congestion}")


def _callers(link: Link, identity: Identity, case: Case, arm: Arm, tracks: Path) -> list[str]:
    """The command line of the callers."""
    congestion = CONGESTION.get(arm)
    transport = "webtransport" if congestion is None else "websocket"
    url = f"https://{link.server.ipv4}:{PORT}"
    words = (str(tracks), str(case.calls), transport, url, identity.sha256.hex(), congestion or "-")
    late = str(late_ms(arm) or "-")
    return link.client.command(module("legato.bench.networks.caller", *words, late))


def _call(link: Link, server: Child, command: list[str], key: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the callers through the network's story; returns when it began, and their accounts."""
    with child("the callers", command, cores=(), **{KEY: key}) as callers:
        _expect(callers, "up")
        # Now that all threads are there, those that carry packets too.
        _put_first(server)
        _put_first(callers)
        link.begin()
        begun_us = time.monotonic_ns() // 1000
        calls: list[dict[str, Any]] = _expect(callers, "result")["calls"]
    return begun_us, calls


def _expect(callers: Child, step: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(callers.readline())
    if line["step"] != step:
        raise BenchError(line["why"])
    return line


def _main(network: str, arm: str, seed: str, tracks: str, folder: str) -> None:
    end_when_terminated()
    case = next(case for case in ALL if case.network == network)
    chosen = next(known for known in (*ARMS, *ON_TIME) if known == arm)
    try:
        seen = hold(case, chosen, int(seed), Path(tracks), Path(folder))
    except LegatoError as error:
        print(json.dumps({"failed": str(error), "kind": type(error).__name__}), flush=True)
        return
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
