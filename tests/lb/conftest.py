"""The Rust codec as a process that answers lines."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lb.quic_lb_reference import Config

PROGRAM = Path(sys.executable).with_name("quic_lb_codec")


class Codec:
    """Asks crates/quic-lb; the commands stand in its example `quic_lb_codec`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *words: str) -> str:
        """One command, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the codec ended at {words}"
        return answer.rstrip("\n")


def octets(value: bytes) -> str:
    """Octets as a word of a command."""
    return value.hex() or "-"


def word(config: Config) -> str:
    """A configuration as a word of a command."""
    key = octets(config.key or b"")
    lengths = f"{config.server_id_len}:{config.nonce_len}"
    return f"{config.id}:{lengths}:{key}:{config.first_octet}:{config.length}"


@pytest.fixture(scope="session")
def codec() -> Iterator[Codec]:
    """The product's codec, as `make setup` has built it."""
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is missing: run scripts/setup")
    with subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Codec(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0
