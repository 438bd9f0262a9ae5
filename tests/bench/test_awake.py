"""What keeps a core awake gives way to everybody, and ends with the measurement."""

import os
from pathlib import Path

import pytest

from legato.bench.awake import kept_awake


def children() -> list[int]:
    """The processes that this one has started, and that have not ended."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs a scheduler with an idle class")
def test_a_core_is_kept_awake_by_what_gives_way_to_everything() -> None:
    core = min(os.sched_getaffinity(0))
    before = set(children())
    with kept_awake([core]) as awake:
        assert awake
        (waker,) = set(children()) - before
        assert os.sched_getscheduler(waker) == os.SCHED_IDLE
        assert os.sched_getaffinity(waker) == {core}
    assert set(children()) <= before


def test_without_a_core_of_the_servers_own_nothing_is_kept_awake() -> None:
    before = children()
    with kept_awake(()) as awake:
        assert not awake
        assert children() == before
