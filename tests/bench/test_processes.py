"""Processes of a measurement end with it."""

import os
import sys

import pytest

from legato.bench.processes import BenchError, child, free_port, wait_for_port

FOREVER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


def alive(pid: int) -> bool:
    """Whether a process has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_ends_with_the_block() -> None:
    with child("a child", FOREVER) as process:
        assert process.readline() == "up"
        assert alive(process.pid)
        assert process.cpu_us() > 0
        assert process.memory_bytes() > 0
    assert not alive(process.pid)


def test_a_child_ends_when_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt), child("a child", FOREVER) as process:
        raise KeyboardInterrupt
    assert not alive(process.pid)


def test_settings_of_the_person_who_measures_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_LEAD_MS", "1")
    code = "import os; print(sorted(k for k in os.environ if k.startswith('LEGATO_')))"
    with child("a child", [sys.executable, "-c", code], LEGATO_AGENT="echo") as process:
        assert process.readline() == "['LEGATO_AGENT']"


def test_a_child_that_dies_is_quoted() -> None:
    with (
        child("the server", [sys.executable, "-c", "import sys; sys.exit('out of luck')"]) as process,
        pytest.raises(BenchError, match="the server did not start: out of luck"),
    ):
        wait_for_port(process, free_port())
