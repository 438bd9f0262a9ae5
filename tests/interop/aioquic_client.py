"""A WebTransport client on aioquic: an implementation of QUIC and HTTP/3 that shares no code with ours.

Owns the joint between aioquic's events and what a test wants to await. Capsules are read and written by hand,
because aioquic leaves them to its user.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import cast

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import (
    DatagramReceived,
    DataReceived,
    H3Event,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from cryptography.hazmat.primitives.hashes import SHA256

Headers = list[tuple[bytes, bytes]]

FIRST_APPLICATION_CODE = 0x52E4A40FA8DB
"""HTTP/3 code of the application's stream code 0 (draft-ietf-webtrans-http3-15 §4.4)."""


class Incoming:
    """What has come on one stream."""

    def __init__(self) -> None:
        self.data = b""
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        self.reset: int | None = None
        self.stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class AioquicClient(QuicConnectionProtocol):
    """One connection with one session at most."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.answers: dict[int, asyncio.Future[dict[bytes, bytes]]] = {}
        self.streams: dict[int, Incoming] = {}
        self.own_streams: set[int] = set()
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()
        self.capsules = Incoming()
        self.server_streams: asyncio.Queue[int] = asyncio.Queue()
        self.terminated: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.session = -1

    def quic_event_received(self, event: QuicEvent) -> None:
        """Sort one event of QUIC, and those of HTTP/3 that follow from it."""
        match event:
            case StreamDataReceived(stream_id=stream, data=data, end_stream=ended) if (
                stream in self.own_streams
            ):
                # aioquic knows sessions only on streams that the peer has opened.
                self._add(self._incoming(stream), data, ended)
                return
            case StreamReset(stream_id=stream, error_code=code):
                incoming = self._incoming(stream)
                incoming.reset = code
                self._add(incoming, b"", True)
            case StopSendingReceived(stream_id=stream, error_code=code):
                self._incoming(stream).stopped.set_result(code)
            case ConnectionTerminated(error_code=code, reason_phrase=reason):
                if not self.terminated.done():
                    self.terminated.set_result((code, reason))
                self._add(self.capsules, b"", True)
        for http_event in self.http.handle_event(event):
            self._http_event(http_event)

    def _http_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream, headers=headers):
                self.answers[stream].set_result(dict(headers))
            case WebTransportStreamDataReceived(stream_id=stream, data=data, stream_ended=ended):
                if stream not in self.streams and stream % 4 == 3:
                    self.server_streams.put_nowait(stream)
                self._add(self._incoming(stream), data, ended)
            case DataReceived(stream_id=stream, data=data, stream_ended=ended) if stream == self.session:
                self._add(self.capsules, data, ended)
            case DatagramReceived(data=data):
                self.datagrams.put_nowait(data)

    def _incoming(self, stream: int) -> Incoming:
        return self.streams.setdefault(stream, Incoming())

    @staticmethod
    def _add(incoming: Incoming, data: bytes, ended: bool) -> None:
        incoming.data += data
        if ended:
            incoming.ended.set()
        incoming.arrived.set()

    async def request(self, path: str, method: bytes = b"CONNECT") -> dict[bytes, bytes]:
        """Ask for a session, or for something else, and wait for the answer."""
        stream = self._quic.get_next_available_stream_id()
        headers: Headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path.encode()),
        ]
        if method == b"CONNECT":
            headers.append((b":protocol", b"webtransport"))
            self.session = stream
        self.answers[stream] = asyncio.get_running_loop().create_future()
        self.http.send_headers(stream, headers, end_stream=method != b"CONNECT")
        self.transmit()
        return await self.answers[stream]

    def open(self, data: bytes, *, unidirectional: bool = False, fin: bool = True) -> int:
        """Open a stream of the session and write to it."""
        stream = self.http.create_webtransport_stream(self.session, is_unidirectional=unidirectional)
        self.own_streams.add(stream)
        self._quic.send_stream_data(stream, data, fin)
        self.transmit()
        return stream

    def write(self, stream: int, data: bytes) -> None:
        """Send more on a stream that was opened with `fin=False`."""
        self._quic.send_stream_data(stream, data)
        self.transmit()

    async def take(self, stream: int, count: int) -> bytes:
        """Wait for the next `count` bytes of a stream and take them away; `EOFError` if it ends before."""
        incoming = self._incoming(stream)
        while len(incoming.data) < count:
            if incoming.ended.is_set():
                raise EOFError(f"stream {stream} ended {count - len(incoming.data)} bytes too early")
            incoming.arrived.clear()
            await incoming.arrived.wait()
        taken, incoming.data = incoming.data[:count], incoming.data[count:]
        return taken

    async def ended(self, stream: int) -> Incoming:
        """Wait for the end of a stream, whichever end it is."""
        incoming = self._incoming(stream)
        await incoming.ended.wait()
        return incoming

    async def stopped(self, stream: int) -> int:
        """Wait until the server wants no more of a stream; return the code of HTTP/3."""
        return await self._incoming(stream).stopped

    async def arrived(self, stream: int) -> None:
        """Wait for the first bytes on a stream."""
        await self._incoming(stream).arrived.wait()

    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate that the server has shown."""
        certificate = self._quic.tls._peer_certificate
        assert certificate is not None
        return certificate.fingerprint(SHA256())

    def reset(self, stream: int, code: int) -> None:
        """Abandon a stream with a code of HTTP/3."""
        self._quic.reset_stream(stream, code)
        self.transmit()

    def send_datagram(self, data: bytes) -> None:
        """Send a datagram of the session."""
        self.http.send_datagram(self.session, data)
        self.transmit()

    def send_capsules(self, data: bytes, *, fin: bool = False) -> None:
        """Send bytes in a DATA frame on the CONNECT stream."""
        self.http.send_data(self.session, data, fin)
        self.transmit()


@contextlib.asynccontextmanager
async def aioquic_client(port: int, certificate_pem: bytes) -> AsyncIterator[AioquicClient]:
    """Connect to a server whose certificate is trusted as its own authority."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        max_datagram_frame_size=65536,
        server_name="localhost",
        verify_mode=ssl.CERT_REQUIRED,
    )
    configuration.load_verify_locations(cadata=certificate_pem)
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=AioquicClient
    ) as client:
        yield cast(AioquicClient, client)
