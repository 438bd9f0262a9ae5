"""What /proc says about a process."""

import os
import subprocess
import sys
import time

import pytest

from legato.bench import usage


def test_cpu_time_grows_with_work() -> None:
    before = usage.cpu_us(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert usage.cpu_us(os.getpid()) - before >= 40_000


def test_memory_is_that_of_a_python_process() -> None:
    assert 5_000_000 < usage.memory_bytes(os.getpid()) < 4_000_000_000


def test_a_process_that_is_gone_says_so() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        usage.cpu_us(process.pid)
    with pytest.raises(ProcessLookupError):
        usage.memory_bytes(process.pid)
