"""Runs a module with a TCP congestion control of one's choice, whatever sockets it makes.

Owns nothing but that. The choice for a whole place is the system's to allow; a socket of its own a process
may set freely where it is root of the place. Listening sockets pass theirs on to what they accept.

    python -m legato.bench.networks.congestion cubic legato.cli serve ...
"""

from __future__ import annotations

import runpy
import socket
import sys
from collections.abc import Sequence

from legato.bench.processes import module

__all__ = ["choose", "possible", "under"]


def choose(name: str) -> None:
    """Let every TCP socket that this process binds or connects from now on use `name`."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.bind", "socket.connect"):
            made = arguments[0]
            if isinstance(made, socket.socket) and made.type & socket.SOCK_STREAM and made.family in _TCP:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())

    sys.addaudithook(hook)


_TCP = (socket.AF_INET, socket.AF_INET6)


def possible(name: str) -> bool:
    """Whether this process may use `name`."""
    with socket.socket() as tcp:
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except OSError:
            return False
    return True


def under(name: str | None, command: Sequence[str]) -> list[str]:
    """The command line that runs `command`, one of `processes.module`, with that congestion control."""
    if name is None:
        return list(command)
    return module("legato.bench.networks.congestion", name, *command[2:])


def _main(name: str, target: str, *arguments: str) -> None:
    choose(name)
    sys.argv = [target, *arguments]
    runpy.run_module(target, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] == "--possible":
        sys.exit(0 if possible(sys.argv[2]) else 1)
    _main(*sys.argv[1:])
