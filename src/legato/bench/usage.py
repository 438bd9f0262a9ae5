"""What a process has cost so far, read from outside. Owns the reading of /proc; knows nothing else of it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_us", "memory_bytes"]


def cpu_us(pid: int) -> int:
    """Return the CPU time of a process so far, all its threads, user and system, in microseconds.

    Summed from the scheduler's nanoseconds per thread where the kernel offers them (a thread that has ended
    is then no longer counted), else from the clock ticks of the whole process. Raises `ProcessLookupError`
    if it is gone.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) // 1000
    except (FileNotFoundError, NotADirectoryError):
        return _cpu_ticks_us(pid)


def _cpu_ticks_us(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    # The second field is the program's name in brackets and may hold spaces; user and system time are 14
    # and 15.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes. Raises `ProcessLookupError` if it is gone."""
    try:
        resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    return int(resident) * os.sysconf("SC_PAGE_SIZE")
