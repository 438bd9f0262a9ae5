"""A process gets the congestion control that was chosen for it; reno is allowed to everyone everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from legato.bench.networks.congestion import possible, under
from legato.bench.processes import module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_CONGESTION is Linux's")

PROGRAM = """
import socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
caller = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
for one in (listener, caller, accepted):
    print(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode())
print(*sys.argv[1:])
"""


def test_every_socket_of_the_process_uses_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = under("reno", module("program", "--flag", "word"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines() == ["reno", "reno", "reno", "--flag word"]


def test_without_a_choice_the_command_is_left_alone() -> None:
    assert under(None, module("program")) == module("program")


def test_what_the_kernel_does_not_have_is_not_possible() -> None:
    assert possible("reno")
    assert not possible("nonsense")
