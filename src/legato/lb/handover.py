"""How a balancer hands its sockets to the one that replaces it, so that an upgrade loses no packet.

Owns the Unix socket between the two. Must not know what the descriptors are.

    successor                           predecessor
      connect          ──────────────►
                       ◄────────────── the descriptors (SCM_RIGHTS)
      forwards with them, beside the predecessor
      "ready"          ──────────────► stops forwarding and ends
      waits for the end of the connection

What arrives meanwhile waits in the sockets, which are never closed. The socket's file is made for its owner
alone: whoever can connect to it gets the packets.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from legato.core.errors import TransportError

__all__ = ["Handover", "Predecessor", "take_over"]

MOST_DESCRIPTORS = 1024
"""More than addresses times threads of any balancer."""

AT_ONCE = 250
"""The system passes no more in one message (SCM_MAX_FD is 253)."""

PATIENCE_S = 20.0
_READY = b"ready"


class Predecessor:
    """The balancer that is being replaced."""

    def __init__(self, connection: socket.socket, descriptors: list[int]) -> None:
        self.descriptors = descriptors
        """Its sockets; they belong to whoever has taken over."""
        self._connection = connection

    async def release(self) -> None:
        """Tell it that it may stop, and wait until it has: only then the names that it used are free."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await loop.sock_sendall(self._connection, _READY)
                await loop.sock_recv(self._connection, 1)
        self._connection.close()


async def take_over(path: Path | None) -> Predecessor | None:
    """Ask whoever listens at `path` for its sockets; None if nobody does.

    Raises `TransportError` if somebody does, but gives nothing.
    """
    if path is None:
        return None
    _check(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE_S)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        reason = error.strerror or error
        raise TransportError(f"cannot take over from the balancer at {path}: {reason}") from None
    try:
        descriptors = await asyncio.to_thread(_receive, connection)
    except OSError as error:
        connection.close()
        raise TransportError(f"the balancer at {path} does not hand over: {error}") from None
    connection.setblocking(False)
    return Predecessor(connection, descriptors)


def _check(path: Path) -> None:
    """Leave alone what somebody needs: whoever listens here takes the place of what has the name."""
    # A name that is too long is no socket either, and is told by whoever uses it.
    with contextlib.suppress(OSError):
        if path.exists() and not path.is_socket():
            raise TransportError(f"cannot hand over at {path}: it is no socket, choose another --handover")


def _receive(connection: socket.socket) -> list[int]:
    descriptors: list[int] = []
    while True:
        said, received, _, _ = socket.recv_fds(connection, 16, AT_ONCE, socket.MSG_CMSG_CLOEXEC)
        descriptors += received
        if said != b"more" or len(descriptors) > MOST_DESCRIPTORS:
            break
    if said != b"all" or not descriptors:
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError("it sent no sockets")
    return descriptors


class Handover:
    """Waits for a successor."""

    def __init__(self, listening: socket.socket, path: Path) -> None:
        self._listening = listening
        self._path = path
        self._inode = path.stat().st_ino
        self._task: asyncio.Task[None] | None = None
        self._connection: socket.socket | None = None

    @classmethod
    async def listen(
        cls, path: Path, descriptors: Callable[[], list[int]], over: Callable[[], None]
    ) -> "Handover":
        """Give a successor the `descriptors`; call `over` when it forwards. Raises `TransportError`."""
        _check(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            listening.bind(str(beside))
            beside.chmod(0o600)
            listening.listen(1)
            # The name appears when somebody listens, in the place of what a predecessor left.
            beside.rename(path)
        except OSError as error:
            listening.close()
            with contextlib.suppress(OSError):
                beside.unlink()
            reason = error.strerror or error
            raise TransportError(f"cannot wait for a successor at {path}: {reason}") from None
        listening.setblocking(False)
        made = cls(listening, path)
        made._task = asyncio.create_task(made._serve(descriptors, over), name="handover")
        return made

    def close(self) -> None:
        """Stop waiting. A successor that has taken over learns that this process is done."""
        if self._task is not None:
            self._task.cancel()
        self._listening.close()
        if self._connection is not None:
            self._connection.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _serve(self, descriptors: Callable[[], list[int]], over: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listening)
            connection.setblocking(False)
            ready = b""
            try:
                # A process that is ending has no sockets any more (`TransportError`).
                with contextlib.suppress(OSError, TimeoutError, TransportError):
                    async with asyncio.timeout(PATIENCE_S):
                        _send(connection, descriptors())
                        ready = await loop.sock_recv(connection, 16)
            finally:
                if ready == _READY:
                    self._connection = connection
                else:
                    # It failed before it forwarded: everything stays as it is.
                    connection.close()
            if ready == _READY:
                over()
                return


def _send(connection: socket.socket, descriptors: list[int]) -> None:
    if not descriptors:
        connection.send(b"none")
    for first in range(0, len(descriptors), AT_ONCE):
        some = descriptors[first : first + AT_ONCE]
        last = first + AT_ONCE >= len(descriptors)
        socket.send_fds(connection, [b"all" if last else b"more"], some)
