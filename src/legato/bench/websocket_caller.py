"""A WebSocket client made of a TLS socket and fifty lines: light, so that the server is what gets measured.

Owns RFC 6455 as far as binary and short text messages need it; must not be taken for a client of anything
else. Frames are masked with zeros, which is legal and costs nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Iterable, Sequence

from legato.bench.processes import BenchError

__all__ = ["WebSocketCaller", "WebSocketCalls", "upgrade"]

_UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: bGVnYXRvIG1lYXN1cmVzIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_READ_BYTES = 256 * 1024
BINARY, TEXT = 0x82, 0x81


def upgrade(target: str) -> bytes:
    """Return the request that opens a WebSocket at a path."""
    return _UPGRADE.format(target).encode()


class WebSocketCaller:
    """One connection to a WebSocket server."""

    def __init__(self, port: int, context: ssl.SSLContext, request: bytes | None = None) -> None:
        """Connect to 127.0.0.1:`port`: TCP, TLS and the upgrade, waiting for each."""
        tcp = socket.create_connection(("127.0.0.1", port), 10)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(tcp, server_hostname="127.0.0.1")
        self._socket.sendall(request or upgrade("/"))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        if not answer.startswith(b"HTTP/1.1 101"):
            raise BenchError("the WebSocket server refused the upgrade")
        self._messages: deque[bytes] = deque()
        self._buffer = bytearray(answer.partition(b"\r\n\r\n")[2])

    def become_quick(self) -> None:
        """Never wait again: what `receive` and `send` need under load."""
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def send(self, payload: bytes) -> None:
        """Send one binary message."""
        self._socket.send(_head(BINARY, len(payload)) + payload)

    def send_text(self, text: str) -> None:
        """Send one text message."""
        payload = text.encode()
        self._socket.send(_head(TEXT, len(payload)) + payload)

    def receive(self) -> Iterable[bytes]:
        """Return the messages that are complete by now."""
        try:
            while data := self._socket.recv(_READ_BYTES):
                self._buffer += data
                if len(data) < 1024 and not self._socket.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        return self._whole()

    def wait(self) -> bytes:
        """Wait for one message and return it."""
        while not self._messages:
            self._messages.extend(self._whole())
            if not self._messages:
                self._buffer += self._more()
        return self._messages.popleft()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise BenchError("the WebSocket server hung up")
        return data

    def _whole(self) -> list[bytes]:
        buffer, messages, at = self._buffer, [], 0
        while len(buffer) - at >= 2:
            size, body = buffer[at + 1], at + 2
            if size >= 126:
                body = at + (4 if size == 126 else 10)
                size = int.from_bytes(buffer[at + 2 : body], "big")
            if body + size > len(buffer):
                break
            messages.append(bytes(buffer[body : body + size]))
            at = body + size
        del buffer[:at]
        return messages


class WebSocketCalls:
    """Many connections, none of which ever waits; implements `Calls`."""

    def __init__(self, port: int, certificate: str, sessions: int) -> None:
        """Open them one after the other."""
        context = ssl.create_default_context(cafile=certificate)
        self._callers = [WebSocketCaller(port, context) for _ in range(sessions)]
        self._who = {caller.fileno(): who for who, caller in enumerate(self._callers)}
        for caller in self._callers:
            caller.become_quick()

    @property
    def count(self) -> int:
        """Return how many connections there are."""
        return len(self._callers)

    def filenos(self) -> Sequence[int]:
        """Return their descriptors."""
        return list(self._who)

    def send(self, who: int, number: int, payload: bytes) -> None:
        """Send one frame as a message."""
        self._callers[who].send(payload)

    def receive(self, fileno: int) -> Iterable[tuple[int, bytes]]:
        """Return the messages of the connection with this descriptor."""
        who = self._who[fileno]
        return [(who, message) for message in self._callers[who].receive()]

    def close(self) -> None:
        """Hang up."""
        for caller in self._callers:
            caller.close()


def _head(kind: int, size: int) -> bytes:
    if size >= 126:
        return bytes((kind, 0xFE)) + size.to_bytes(2, "big") + bytes(4)
    return bytes((kind, 0x80 | size, 0, 0, 0, 0))
