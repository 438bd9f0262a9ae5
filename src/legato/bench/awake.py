"""A core that never halts: a process beside a server under measurement that runs when nothing else wants to.

Owns one loop of the lowest class of the scheduler, which gives way to everything at once. It must not know
what is measured. Why: docs/decisions/0023-cores-kept-awake.md.

Runs as a process: `python -m legato.bench.awake`, until it is ended or its parent is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

from legato.bench.processes import child, module

__all__ = ["kept_awake"]

STEPS = 100_000
"""Steps between two looks at the parent: some milliseconds."""


@contextlib.contextmanager
def kept_awake(cores: Collection[int]) -> Iterator[bool]:
    """Keep `cores` from halting for as long as the block lasts; gives whether they are kept so, which needs
    Linux and cores of the server's own."""
    if not cores or not hasattr(os, "SCHED_IDLE"):
        yield False
        return
    with contextlib.ExitStack() as stack:
        for core in cores:
            waker = stack.enter_context(child("what keeps a core awake", module(__name__, str(core))))
            waker.readline()
        yield True


def spin(core: int) -> None:
    """Use the time that nobody else wants, until the parent is gone."""
    parent = os.getppid()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, {core})
    print("awake", flush=True)
    while os.getppid() == parent:
        for _ in range(STEPS):
            pass


if __name__ == "__main__":
    import sys

    spin(int(sys.argv[1]))
