"""Sources of servers under a test's control: a file, a nameserver, an API of Kubernetes.

The nameserver answers real questions over UDP. The API is simulated: it lists, watches, sends bookmarks,
forgets, refuses and stalls as the reference describes it (Kubernetes API Concepts), and serves one kind of
object. No real API server takes part.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from legato.lb.discovery.base import Discovery
from legato.lb.discovery.dns import DnsDiscovery
from legato.lb.discovery.kubernetes import KubernetesDiscovery
from legato.lb.discovery.static import StaticDiscovery
from legato.lb.discovery_settings import DnsSource, KubernetesSource
from legato.lb.servers import Address, shown

SOON_S = 0.01


class FileStage:
    """A file that is replaced as an editor does it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "servers.toml"
        self.write("servers = []")

    def write(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, self.file)

    def discovery(self) -> Discovery:
        return StaticDiscovery(self.file, SOON_S)

    async def publish(self, servers: Sequence[Address]) -> None:
        self.write("".join(f'[[servers]]\naddress = "{shown(one)}"\n' for one in servers) or "servers = []")

    async def damage(self) -> None:
        self.write("[[servers]\naddress = ")


class DnsStage(asyncio.DatagramProtocol):
    """A nameserver for whatever name is asked for."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl_s = 0
        self.broken = False
        self.broken_kinds: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        asked = question.question[0]
        key = asked.name.to_text().rstrip("."), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append(key)
        if self.broken or key[1] in self.broken_kinds:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found := self.records.get(key):
            answer.answer.append(dns.rrset.from_text_list(asked.name, self.ttl_s, "IN", key[1], found))
        elif all(name != key[0] for name, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)

    def source(self, **facts: Any) -> DnsSource:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return DnsSource(
            name="voice.example",
            nameservers=(f"{host}:{port}",),
            least_seconds=SOON_S,
            most_seconds=SOON_S,
            **facts,
        )

    def discovery(self) -> Discovery:
        return DnsDiscovery(self.source())

    async def publish(self, servers: Sequence[Address]) -> None:
        self.broken = False
        self.records = {("voice.example", "A"): list(dict.fromkeys(host for host, _ in servers))}

    async def damage(self) -> None:
        self.broken = True


class KubernetesStage:
    """An API server with EndpointSlices of one service, spread over slices of two endpoints each."""

    def __init__(self) -> None:
        self.version = 1
        self.slices: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, dict[str, Any]]] = []
        self.oldest = 0
        self.refuses: int | None = None
        self.stalls = False
        self.nonsense: bytes | None = None
        self.lists = 0
        self.watches = 0
        self.asked = asyncio.Event()
        self._term = 0
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def discovery(self) -> Discovery:
        return KubernetesDiscovery(self.source(), self.url, "voice")

    def source(self) -> KubernetesSource:
        return KubernetesSource(service="legato", watch_seconds=60, retry_seconds=SOON_S)

    async def publish(self, servers: Sequence[Address]) -> None:
        self.refuses = None
        self.stalls = False
        pairs = [list(servers[first : first + 2]) for first in range(0, len(servers), 2)]
        wanted = {f"legato-{number}": slice_of(f"legato-{number}", pair) for number, pair in enumerate(pairs)}
        # A new slice comes before an old one goes, as the controller does it; the whole is one step here.
        for name in wanted.keys() | self.slices.keys():
            if name not in wanted:
                self.happen("DELETED", self.slices.pop(name), tell=False)
            elif not same(wanted[name], self.slices.get(name)):
                self.happen("MODIFIED" if name in self.slices else "ADDED", wanted[name], tell=False)
                self.slices[name] = wanted[name]
        self._tell()

    async def damage(self) -> None:
        self.refuses = 503
        self.hang_up()

    def happen(self, kind: str, found: dict[str, Any], *, tell: bool = True) -> None:
        """An event that watches see."""
        self.version += 1
        found.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        self.history.append((self.version, {"type": kind, "object": json.loads(json.dumps(found))}))
        if tell:
            self._tell()

    def forget(self) -> None:
        """Lose the history, as compaction does."""
        self.oldest = self.version

    def end_watches(self) -> None:
        """Let every watch come to its orderly end, as the API does now and then."""
        self._term += 1
        self._tell()

    def hang_up(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.close()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.split(b" ")[1].decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        path, _, query = target.partition("?")
        assert path == "/apis/discovery.k8s.io/v1/namespaces/voice/endpointslices"
        assert "labelSelector=kubernetes.io%2Fservice-name%3Dlegato" in query
        self.asked.set()
        if self.stalls:
            await self._changed.wait()
        if self.refuses is not None:
            await reply(writer, self.refuses, {"kind": "Status", "code": self.refuses})
        elif self.nonsense is not None and ("watch=true" in query) == self.nonsense.startswith(b'{"type"'):
            await reply(writer, 200, self.nonsense)
        elif "watch=true" not in query:
            self.lists += 1
            listed = {"metadata": {"resourceVersion": str(self.version)}, "items": list(self.slices.values())}
            await reply(
                writer, 200, {"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1"} | listed
            )
        else:
            self.watches += 1
            fields = dict(field.split("=") for field in query.split("&"))
            await self._watch(int(fields["resourceVersion"]), writer)

    async def _watch(self, after: int, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        term = self._term
        while not writer.is_closing() and term == self._term:
            changed = self._changed
            if after < self.oldest:
                gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
                await chunk(writer, {"type": "ERROR", "object": gone})
                break
            for version, event in self.history:
                if version > after:
                    after = version
                    await chunk(writer, event)
            await chunk(writer, bookmark(after))
            await changed.wait()
        await chunk(writer, None)


def slice_of(name: str, servers: Sequence[Address], **conditions: bool) -> dict[str, Any]:
    """An EndpointSlice as the API shows it."""
    ports = {port for _, port in servers} or {4434}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "legato"}},
        "addressType": "IPv4",
        "ports": [
            {"name": "https", "protocol": "TCP", "port": 4433},
            {"name": "tunnel", "protocol": "UDP", "port": ports.pop()},
        ],
        "endpoints": [
            {
                "addresses": [host],
                "conditions": {"ready": True, "serving": True, "terminating": False} | conditions,
                "targetRef": {"kind": "Pod", "name": f"legato-{host.rpartition('.')[2]}"},
            }
            for host, _ in servers
        ],
    }


def same(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    """Whether two slices have the same endpoints."""
    return other is not None and one["endpoints"] == other["endpoints"]


def bookmark(version: int) -> dict[str, Any]:
    """What the API sends so that a watch can go on later."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"type": "BOOKMARK", "object": {"kind": "EndpointSlice", "metadata": metadata}}


async def reply(writer: asyncio.StreamWriter, status: int, document: dict[str, Any] | bytes) -> None:
    """A whole answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def chunk(writer: asyncio.StreamWriter, document: dict[str, Any] | None) -> None:
    """A line of an endless answer; None ends it."""
    body = b"" if document is None else json.dumps(document).encode() + b"\n"
    writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
    await writer.drain()
