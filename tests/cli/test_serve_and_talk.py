"""`legato serve` and `legato talk` as processes: what they print, how they end, how they find each other."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legato.audio.wav import read_wav, write_wav
from legato.trust import DEVELOPMENT_CERTIFICATE

PROGRAM = (sys.executable, "-m", "legato")

ONE_FORMAT = ("--input-format", "pcm16/16000", "--output-format", "pcm16/16000")
"""An echo comes back in the format in which it was sent."""

SOCKET = ("--transport", "websocket")


class Serving:
    """A running `legato serve` whose log is read as JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = 0

    def log(self, event: str) -> dict[str, Any]:
        """The next log line with that event; every line before it is a JSON object too."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            if line["event"] == event:
                return line
        raise AssertionError(f"the server ended without {event!r}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    return clean | {"XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "120"}


@contextlib.contextmanager
def serving(environment: dict[str, str], *flags: str) -> Iterator[Serving]:
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--agent", "echo", "--port", "0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        server = Serving(process)
        server.port = int(server.log("listening")["addresses"][0].rpartition(":")[2])
        yield server
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    write_wav(tmp_path / "tone.wav", b"\0\x20\0\xe0" * 2000, 16_000)
    return tmp_path / "tone.wav"


def talk(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "talk", *ONE_FORMAT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


class TestServe:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_serves_until_it_is_told_to_stop(self, environment: dict[str, str], number: int) -> None:
        with serving(environment) as server:
            trust = Path(environment["XDG_STATE_HOME"]) / "legato" / DEVELOPMENT_CERTIFICATE
            context = ssl.create_default_context(cafile=str(trust))
            base = f"https://localhost:{server.port}"
            with urllib.request.urlopen(f"{base}/.well-known/legato", context=context) as answer:
                document = json.load(answer)
            assert document["webtransport_url"] == f"{base}/legato/v1"
            assert len(document["certificate_hashes"]) == 1
            assert server.end(number) == 0
            assert server.process.stdout is not None
            assert server.process.stdout.read() == ""

    @pytest.mark.parametrize(("kind", "name"), [(socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")])
    def test_a_port_in_use(self, environment: dict[str, str], kind: socket.SocketKind, name: str) -> None:
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                other.listen()
            port = other.getsockname()[1]
            command = [*PROGRAM, "serve", "--agent", "echo", "--port", str(port)]
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=100, check=False
            )
        assert done.returncode == 1
        assert done.stderr == f"legato: port {port} is in use ({name}): choose another with --port\n"

    def test_an_agent_that_is_none(self, environment: dict[str, str]) -> None:
        command = [*PROGRAM, "serve", "--agent", "nobody"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=100, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("legato: 'nobody' ")
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("columns", [100, 30])
    def test_a_terminal_is_told_where_and_how(self, environment: dict[str, str], columns: int) -> None:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--agent", "echo", "--port", "0"],
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env=environment | {"COLUMNS": str(columns)},
        )
        os.close(theirs)
        shown = b""
        try:
            while b"--url" not in shown and select.select([ours], [], [], 15)[0]:
                shown += os.read(ours, 4096)
            text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
            assert max(len(line) for line in text.splitlines()) <= columns
            # A line that is too long is folded, and nothing of it is left out.
            joined = re.sub(r"\s+", "", text)
            page = re.search(r"itspagehttps://localhost:(\d+)/agentecho", joined)
            assert page is not None
            assert f"listenshttps://localhost:{page[1]}itspage" in joined
            assert re.search(r"sha-256[0-9a-f]{64}development", joined)
            assert joined.endswith(f"legatotalk--urlhttps://localhost:{page[1]}")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            os.close(ours)


class TestTalk:
    @pytest.mark.parametrize(("flags", "transport"), [((), "webtransport"), (SOCKET, "websocket")])
    def test_finds_and_trusts_the_server_of_the_same_user(
        self,
        environment: dict[str, str],
        wav: Path,
        tmp_path: Path,
        flags: tuple[str, ...],
        transport: str,
    ) -> None:
        saved = tmp_path / "reply.wav"
        with serving(environment) as server:
            url = f"https://localhost:{server.port}"
            process = talk(environment, str(wav), "--url", url, "--json", "--save", str(saved), *flags)
            out, err = process.communicate(timeout=100)
        assert err == ""
        assert process.returncode == 0
        lines = [json.loads(line) for line in out.splitlines()]
        by_type = {line["type"]: line for line in lines}
        assert [line["type"] for line in lines] == ["connected", "speaking", "turn", "closed"]
        assert by_type["connected"]["url"] == url
        assert by_type["connected"]["transport"] == transport
        assert by_type["turn"]["said"] == "tone.wav"
        assert by_type["turn"]["played_ms"] > 200
        assert by_type["closed"] == {
            "type": "closed",
            "by": "local",
            "code": 0,
            "reason": by_type["closed"]["reason"],
            "saved": str(saved),
        }
        assert read_wav(saved).seconds > 0.2

    def test_in_a_pipe_it_prints_only_what_was_said(self, environment: dict[str, str], wav: Path) -> None:
        with serving(environment) as server:
            process = talk(environment, str(wav), "--url", f"https://127.0.0.1:{server.port}")
            assert process.communicate(timeout=100) == ("you: \nlegato: \n", "")
            assert process.returncode == 0

    def test_a_wrong_certificate_hash(self, environment: dict[str, str], wav: Path) -> None:
        with serving(environment) as server:
            url = f"https://localhost:{server.port}"
            process = talk(environment, str(wav), "--url", url, "--cert-hash", "00" * 32)
            out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (1, "")
        assert err.startswith("legato: ")
        assert "certificate" in err
        assert len(err.splitlines()) == 1

    def test_a_wrong_path(self, environment: dict[str, str], wav: Path) -> None:
        with serving(environment) as server:
            process = talk(environment, str(wav), "--url", f"https://localhost:{server.port}/elsewhere")
            out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (1, "")
        assert "404" in err
        assert len(err.splitlines()) == 1

    def test_an_interrupt_is_quiet(self, environment: dict[str, str], wav: Path) -> None:
        with serving(environment) as server:
            process = talk(
                environment, *[str(wav)] * 20, "--url", f"https://localhost:{server.port}", "--json"
            )
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "connected"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=100)
            assert process.returncode == 130
            assert err == ""
            assert json.loads(out.splitlines()[-1])["type"] == "closed"
            assert server.log("call ended")["code"] == 0

    def test_an_interrupt_is_quiet_before_there_is_a_call(
        self, environment: dict[str, str], wav: Path
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(15)
            process = talk(environment, str(wav), "--url", f"https://127.0.0.1:{silent.getsockname()[1]}")
            assert silent.recv(2048)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=100) == ("", "")
            assert process.returncode == 130

    def test_a_second_interrupt_ends_a_draining_server(self, environment: dict[str, str], wav: Path) -> None:
        with serving(environment) as server:
            process = talk(
                environment, *[str(wav)] * 20, "--url", f"https://localhost:{server.port}", "--json"
            )
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "connected"
            server.process.send_signal(signal.SIGINT)
            assert server.log("draining")["calls"] == 1
            assert server.end(signal.SIGINT) == 130
            out, err = process.communicate(timeout=100)
            assert process.returncode == 1
            assert json.loads(out.splitlines()[-1])["code"] == 1
            assert err.startswith("legato: session closed by peer, code 1")
