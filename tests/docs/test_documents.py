"""What the documents say is true: commands run, Python runs, links lead somewhere, the reference is current.

Every document is one test: its blocks run in order in one folder, against one server with the assistant.
Addresses are the only thing that is changed. A command that no rule here knows fails the test.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.docs.blocks import Block, blocks, links
from tests.docs.conftest import LEGATO

from legato.bench.processes import Child, child, free_port, wait_for_port

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "reference" not in path.parts
]
RUNNABLE = [path for path in DOCUMENTS if any(block.language in ("sh", "python") for block in blocks(path))]
ADDRESS = "//localhost:4433"
LIMIT_S = 90


def named(path: Path) -> str:
    """A document's path for test names."""
    return path.relative_to(ROOT).as_posix()


class Reader:
    """Does what a document says, in a folder of its own."""

    def __init__(self, folder: Path, server: str, state: Path) -> None:
        self.folder = folder
        self.server = server
        self.environment = {**os.environ, "XDG_STATE_HOME": str(state)}

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        if block.name is not None:
            (self.folder / block.name).write_text(block.text)
        elif block.language == "python":
            self.run([sys.executable, "-c", self.at_the_server(block.text)])
        elif block.language == "sh":
            for line in block.text.splitlines():
                self.type(shlex.split(line))

    def at_the_server(self, text: str) -> str:
        """Put the server's address in the place of the one that documents give."""
        return text.replace(ADDRESS, self.server.removeprefix("https:"))

    def type(self, words: list[str]) -> None:
        """Do what one command line says."""
        match words:
            case ["make", target]:
                assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
            case ["flite", *_]:
                self.run(words, silent=True)
            case ["curl", "--insecure", url]:
                assert httpx.get(self.at_the_server(url), verify=False).is_success
            case ["legato", "serve", *flags]:
                self.serve(flags)
            case ["legato", "balance", *flags]:
                self.balance(flags)
            case ["legato", "talk", *flags]:
                self.run([LEGATO, "talk", *flags, "--url", self.server])
            case ["legato", "settings" | "api-key" | "keys" as command, *flags]:
                self.run([LEGATO, command, *flags])
            case ["export", setting]:
                self.export(*setting.split("=", 1))
            case _:
                pytest.fail(f"no rule for the command {shlex.join(words)}")

    def export(self, name: str, value: str) -> None:
        """Set a variable for everything that follows, as a shell would."""
        done = subprocess.run(
            ["sh", "-c", f'printf %s "{value}"'],
            env=self.environment | {"PATH": f"{Path(LEGATO).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        assert done.stdout
        self.environment[name] = done.stdout

    def serve(self, flags: list[str]) -> None:
        """Start a server as told, but on a free port, and see that it takes calls."""
        port = free_port()
        own = ["--port", str(port), "--drain-seconds", "0"]
        if "--tunnel" in flags:
            own += ["--tunnel", "127.0.0.1:0"]
        command = [LEGATO, "serve", *self.with_files(flags), *own]
        with (
            contextlib.chdir(self.folder),
            child("a server", command, XDG_STATE_HOME=str(self.folder)) as process,
        ):
            wait_for_port(process, port)
            assert httpx.get(f"https://localhost:{port}/readyz", verify=False).is_success

    def balance(self, flags: list[str]) -> None:
        """Start a balancer as told, but on free ports, and see that it knows the servers it was told of."""
        port = free_port()
        words = ["127.0.0.1:0" if before == "--listen" else word for before, word in pairwise(["", *flags])]
        command = [LEGATO, "balance", *self.with_files(words), "--admin-port", str(port)]
        with child("a balancer", command, XDG_STATE_HOME=str(self.folder)) as process:
            status = wait_for_status(process, port)
            assert len(status["servers"]) == flags.count("--server")
            assert status["problems"] == []

    def with_files(self, flags: list[str]) -> list[str]:
        """Flags that name files of the reader's folder, for a program that runs elsewhere."""
        return [str(self.folder / word) if (self.folder / word).is_file() else word for word in flags]

    def run(self, words: list[str], *, silent: bool = False) -> None:
        """Run a program to its good end; unless it is `silent` it has something to say."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        assert silent or done.stdout.strip()


def wait_for_status(balancer: Child, port: int) -> dict[str, Any]:
    """What a balancer says as soon as it says anything."""
    for _ in range(40 * LIMIT_S):
        try:
            status: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/status").json()
        except httpx.TransportError:
            assert balancer.process.poll() is None, balancer.last_words()
            time.sleep(0.05)
        else:
            return status
    raise AssertionError(balancer.last_words())


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("document", RUNNABLE, ids=named)
def test_a_document_does_what_it_says(document: Path, tmp_path: Path, server: str, state: Path) -> None:
    reader = Reader(tmp_path, server, state)
    if document.name in ("authentication.md", "python-client.md"):
        reader.type(["flite", "-voice", "rms", "-t", "what is two plus two", "-o", "question.wav"])
    for block in blocks(document):
        reader.follow(block)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "SECURITY.md"], ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    for target in links(document):
        if "://" not in target:
            path = document.parent / target.partition("#")[0] if not target.startswith("#") else document
            assert path.exists(), f"{named(document)} links to {target}"


def test_every_guide_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    decisions = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        if path.name != "README.md":
            within = path.name if path.parent.name == "decisions" else f"{path.parent.name}/{path.name}"
            assert within in (decisions if path.parent.name == "decisions" else index), within


def test_the_reference_is_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
