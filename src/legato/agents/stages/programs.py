"""Programs that run beside the server: started, talked to, and waited for, without harm to the loop.

Owns how they are started. `subprocess.Popen` runs no Python between fork and exec; the event loop's own calls
do (uvloop's at least), and a garbage collection in that moment can wait for ever for threads that only the
parent has, with the server waiting for the child. It must not know what the programs do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import Sequence

__all__ = ["Program", "start", "start_with_pipe"]


class Program:
    """One process that was started; reaped by a thread of its own as soon as it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Begin to wait for `process`, on the running event loop."""
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._reap, name=f"reaper of {process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Return its exit status once it has ended."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """End it by force, if it still runs, and wait for that."""
        self._process.kill()
        await self.wait()

    def _reap(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            self._loop.call_soon_threadsafe(self._ended.set_result, status)


async def start(command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Program:
    """Start `command` with nothing to read and nobody to write to, but with the descriptors `pass_fds`.

    Raises `OSError` if it cannot be started.
    """
    return await _start(command, subprocess.DEVNULL, pass_fds)


async def start_with_pipe(
    command: Sequence[str],
) -> tuple[Program, asyncio.StreamReader, asyncio.StreamWriter]:
    """Start `command`; also return what it writes to its standard output and a way to its standard input.

    Raises `OSError` if it cannot be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            program = await _start(command, theirs.fileno(), ())
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    return program, reader, writer


async def _start(command: Sequence[str], stdio: int, pass_fds: Sequence[int]) -> Program:
    def popen() -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=stdio, stdout=stdio, stderr=quiet, pass_fds=pass_fds)

    starting = asyncio.get_running_loop().run_in_executor(None, popen)
    try:
        return Program(await asyncio.shield(starting))
    except asyncio.CancelledError:
        # The descriptors are the caller's: they stay open until the program has them.
        with contextlib.suppress(OSError):
            await Program(await starting).kill()
        raise
