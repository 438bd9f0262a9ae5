"""A WebTransport server on aioquic, to hold our client against an implementation that shares no code with it.

It echoes like `/echo` of `scenes.py`, ends the session when a stream says `close`, and answers 404 to other
paths.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from legato.server.certificates import ServerIdentity

CLOSE = b"\x68\x43\x0f" + (4242).to_bytes(4) + b"enough said"


class Host:
    """A running server and what its sessions sent on their CONNECT streams."""

    def __init__(self) -> None:
        self.port = 0
        self.capsules = b""
        self.session_ended = asyncio.Event()


class _Connection(QuicConnectionProtocol):
    def __init__(self, host: Host, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.host = host
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.collected: dict[int, bytes] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Answer whatever HTTP/3 makes of an event of QUIC."""
        for http_event in self.http.handle_event(event):
            match http_event:
                case HeadersReceived(stream_id=stream, headers=headers):
                    self._requested(stream, dict(headers))
                case WebTransportStreamDataReceived(stream_id=stream, data=data, stream_ended=ended):
                    self._stream_data(stream, http_event.session_id, data, ended)
                case DatagramReceived(stream_id=stream, data=data):
                    self.http.send_datagram(stream, data)
                case DataReceived(data=data, stream_ended=ended):
                    self.host.capsules += data
                    if ended:
                        self.host.session_ended.set()
        self.transmit()

    def _requested(self, stream: int, headers: dict[bytes, bytes]) -> None:
        found = headers[b":path"] == b"/echo" and headers[b":protocol"] == b"webtransport"
        self.http.send_headers(stream, [(b":status", b"200" if found else b"404")], end_stream=not found)

    def _stream_data(self, stream: int, session: int, data: bytes, ended: bool) -> None:
        if data == b"close":
            self.http.send_data(session, CLOSE, True)
        elif stream % 4 == 0:
            self._quic.send_stream_data(stream, data, ended)
        else:
            self.collected[stream] = self.collected.get(stream, b"") + data
            if ended:
                answer = self.http.create_webtransport_stream(session, is_unidirectional=True)
                self._quic.send_stream_data(answer, self.collected.pop(stream), True)


@contextlib.asynccontextmanager
async def aioquic_server(identity: ServerIdentity, folder: Path) -> AsyncIterator[Host]:
    """Serve on a free port of 127.0.0.1."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(identity.chain_pem())
    key.write_bytes(identity.key_pem())
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536)
    configuration.load_cert_chain(certificate, key)
    host = Host()
    protocol = functools.partial(_Connection, host)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=protocol)
    host.port = server._transport.get_extra_info("sockname")[1]
    try:
        yield host
    finally:
        server.close()
