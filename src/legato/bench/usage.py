"""What a process has cost so far, read from outside. Owns the reading of /proc; knows nothing else of it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_us", "cpu_us_by_thread", "memory_bytes"]


def cpu_us(pid: int) -> int:
    """Return the CPU time of a process so far, all its threads, user and system, in microseconds.

    Summed from the scheduler's nanoseconds per thread where the kernel offers them (a thread that has ended
    is then no longer counted), else from the clock ticks of the whole process. Raises
    `ProcessLookupError` if it is gone.
    """
    try:
        return sum(cpu_us_by_thread(pid).values())
    except FileNotFoundError:
        return _cpu_ticks_us(pid)


def cpu_us_by_thread(pid: int) -> dict[str, int]:
    """Return the CPU time so far of each thread's name, in microseconds; threads of one name are added up.

    Raises `FileNotFoundError` where the kernel keeps no such account, or the process is gone.
    """
    spent: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        spent[name] = spent.get(name, 0) + int((task / "schedstat").read_text().split()[0]) // 1000
    return spent


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
