"""`make bench-browser`: what the browser package does in real browsers, beside its limits.

Owns the servers, the paths between, the order of the scenes and the limits. What happens inside a browser is
scenes.mjs. Needs what `make setup` installs; no sound card and no root.

    measure.py [--json] [chromium] [firefox]
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from tests.interop.browser_client.playing import PACKAGE, build  # noqa: E402
from tests.interop.driving import EXECUTABLES, node, page_server, program  # noqa: E402
from tests.interop.page.room import ECHO, needed, room  # noqa: E402
from udp_path import UdpPath, udp_path  # noqa: E402

from legato.bench.figures import Figure, Report  # noqa: E402
from legato.bench.processes import (  # noqa: E402
    FIRST,
    Identity,
    child,
    free_port,
    temporary_identity,
    wait_for_port,
)
from legato.bench.serving import serve_command  # noqa: E402
from legato.core.wire.codes import SESSION_PATH  # noqa: E402

FOLDER = Path(__file__).parent
RTT_MS = 100.0
LIMIT_SECONDS = 400
NOISE_RATE = 44_100
NOISE_SECONDS = 14
AUDIO_BYTES = 500
"""Packets of a client are as large as that if they carry 20 ms of samples; acknowledgements are smaller."""


class _Files(SimpleHTTPRequestHandler):
    """The page, the package, the sounds; and what a scene may do to the network."""

    def __init__(self, *given: Any, made: Path, deeds: Mapping[str, Callable[[], None]], **more: Any) -> None:
        self._made, self._deeds = made, deeds
        super().__init__(*given, **more)

    def do_POST(self) -> None:
        """Do it."""
        self._deeds[self.path.removeprefix("/do/")]()
        self.send_response(204)
        self.end_headers()

    def translate_path(self, path: str) -> str:
        """Where a file is."""
        own = path.startswith("/dist/") or path.endswith(".wav")
        return str((self._made if own else FOLDER) / path.lstrip("/"))

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def main() -> int:
    """Measure in every browser that was named, or in all; 1 if a figure is outside its limit."""
    as_json = "--json" in sys.argv
    named = [name for name in sys.argv[1:] if name in EXECUTABLES]
    build()
    # Before other work of the machine, where the system allows that: sound has deadlines.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    with tempfile.TemporaryDirectory(prefix="legato-bench-", ignore_cleanup_errors=True) as name:
        made = Path(name)
        _make_sounds(made)
        # A build for another purpose takes nothing away from under this one.
        shutil.copytree(PACKAGE / "dist", made / "dist")
        reports = [_measure(browser, made) for browser in named or EXECUTABLES]
    for report in reports:
        report.print(as_json)
    return 0 if all(report.within for report in reports) else 1


def _make_sounds(folder: Path) -> None:
    story = [needed("flite"), "-voice", "rms", "-t", "tell me a long story", "-o", str(folder / "story.wav")]
    subprocess.run(story, check=True)
    noise = np.random.default_rng(1).integers(-8_000, 8_000, NOISE_RATE * NOISE_SECONDS, dtype=np.int16)
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(NOISE_RATE)
        file.writeframes(noise.tobytes())


def _measure(browser: str, made: Path) -> Report:
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(temporary_identity())
        echo = stack.enter_context(_server("echo", identity))
        assistant = stack.enter_context(_server("assistant", identity))
        slow, echoed, dropped = (
            stack.enter_context(udp_path(echo, delay)) for delay in (RTT_MS / 2000, 0, 0)
        )
        silent = [stack.enter_context(_silence()) for _ in range(3)]
        deeds = {"drop": lambda: _let(dropped, False), "pass": lambda: _let(dropped, True)}
        handler = functools.partial(_Files, made=made, deeds=deeds)
        url = stack.enter_context(page_server(handler))
        parameters = {
            "slow": _url(slow.port),
            "echoed": _url(echoed.port),
            "dropped": _url(dropped.port),
            "silent": [_url(port) for port in silent],
            "assistant": _url(assistant),
            "certificateHash": _base64(identity),
            "options": {
                "certificateHashes": [_base64(identity)],
                "transport": "webtransport",
                "discover": False,
            },
        }
        seen = {}
        for scenes, modules, microphone in (
            (["ready", "stall", "flush", "blackout", "websocket"], (), None),
            (["echo"], (ECHO,), None),
            (["fidelity"], (), str(made / "noise.wav")),
        ):
            if microphone and browser != "chromium":
                continue
            with _room(*modules) as sound:
                more = {"scenes": scenes, "microphone": microphone}
                seen |= _play(browser, url, parameters | more, sound)
                # A browser that stood still, or a call that a busy machine has cut, gets a second chance.
                again = [scene for scene in scenes if "failed" in seen.get(scene, {"failed": ""})]
                if again:
                    _let(dropped, True)
                    seen |= _play(browser, url, parameters | more | {"scenes": again}, sound)
        return _report(browser, seen, echoed)


@contextlib.contextmanager
def _room(*modules: str) -> Iterator[dict[str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="legato-bench-", ignore_cleanup_errors=True) as name,
        room(Path(name) / "room", *modules) as sound,
    ):
        yield sound


@contextlib.contextmanager
def _server(agent: str, identity: Identity) -> Iterator[int]:
    port = free_port()
    with child(f"the server of {agent}", serve_command(port, identity, agent)) as process:
        wait_for_port(process, port)
        yield port


@contextlib.contextmanager
def _silence() -> Iterator[int]:
    """A port that takes packets and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


def _play(browser: str, url: str, parameters: dict[str, Any], sound: dict[str, str]) -> dict[str, Any]:
    command = [
        node(PACKAGE),
        str(FOLDER / "drive.mjs"),
        browser,
        program(browser),
        url,
        json.dumps(parameters),
    ]
    done = subprocess.run(
        command, env=os.environ | sound, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    seen: dict[str, Any] = json.loads(done.stdout or "{}")
    for scene in parameters["scenes"]:
        if "failed" in seen.get(scene, {"failed": "it did not come to it"}):
            print(f"{browser}, {scene}: {seen.get(scene)}\n{done.stderr[-800:]}", file=sys.stderr)
    return seen


def _report(browser: str, seen: dict[str, Any], echoed: UdpPath) -> Report:
    """The figures; what was not measured never came."""
    ready, stall, flush = (seen.get(name, {}) for name in ("ready", "stall", "flush"))
    never = float("inf")
    left, whole = (seen.get("echo", {}).get(name, {}).get("median") for name in ("cancelled", "plain"))

    def rtts(times: list[float]) -> float:
        # What else the machine does comes on top, never off.
        return min(times, default=never) / RTT_MS

    figures = [
        Figure(
            name="WebTransport ready, fastest of 8",
            value=rtts(ready.get("transport", [])),
            unit="RTT of 100 ms",
            limit=2.3,
        ),
        Figure(
            name="call ready, welcome included, fastest of 8",
            value=rtts(ready.get("welcome", [])),
            unit="RTT of 100 ms",
        ),
        Figure(name="uplink gap in a stall of 1 s", value=_gap(stall, echoed), unit="ms", limit=100),
        Figure(name="underruns in that stall", value=stall.get("underruns", never), unit="", limit=0),
        Figure(
            name="speech noticed in a reply to silence, slowest of 10",
            value=max(flush.get("delays") or [never]),
            unit="ms",
            limit=20,
        ),
        Figure(
            name="command of the page to silence, slowest of 10",
            value=max(flush.get("commanded") or [never]),
            unit="ms",
        ),
        Figure(
            name="echo left in the microphone after 8 s",
            value=never if left is None else left,
            unit="dBFS",
            limit=-60,
            baseline=whole,
        ),
        Figure(
            name="lost in 5 s without UDP",
            value=seen.get("blackout", {}).get("lostBytes", never),
            unit="bytes",
            limit=0,
        ),
        Figure(
            name="WebSocket where UDP goes nowhere",
            value=statistics.median(seen.get("websocket", {}).get("readyMs") or [never]),
            unit="ms",
            limit=1_000,
        ),
    ]
    if browser == "chromium":
        exact = 100 * seen.get("fidelity", {}).get("exact", 0.0)
        figures.insert(
            2, Figure(name="microphone samples kept", value=exact, unit="%", limit=99, at_least=True)
        )
    shown = [{"name": one.name, "value": one.value, "unit": one.unit, "limit": one.limit} for one in figures]
    return Report(
        title=f"{browser}, beside a page that does nothing about it",
        figures=figures,
        detail={"benchmark": "browser", "browser": browser, "figures": shown, "seen": seen},
        baseline_name="without",
    )


def _gap(stall: dict[str, Any], echoed: UdpPath) -> float:
    """The longest time between two packets of audio while the page was busy."""
    if "from" not in stall:
        return float("inf")
    since, until = stall["from"] / 1000, stall["to"] / 1000
    times = [at for at, size in echoed.log if size > AUDIO_BYTES and since - 0.1 <= at <= until + 0.1]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return 1000 * max(gaps, default=float("inf"))


def _let(way: UdpPath, passes: bool) -> None:
    way.passes = passes


def _url(port: int) -> str:
    return f"https://127.0.0.1:{port}{SESSION_PATH}"


def _base64(identity: Identity) -> str:
    return base64.b64encode(identity.sha256).decode()


if __name__ == "__main__":
    sys.exit(main())
