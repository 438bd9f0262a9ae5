"""Servers and clients on loopback for the tests of the balancer: packets that look like QUIC, and no QUIC.

A server answers probes, and every other packet with its own name and what it got.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.lb.test_health import answer_to

from legato import _native
from legato.fleet_keys import FleetKeys
from legato.lb.balancer import Balancer
from legato.lb.servers import Address
from legato.lb.settings import BalancerSettings
from legato.lb.version_probe import PROBE_OCTETS, VersionProbe

WAIT_S = 20.0
QUICK = {"interval_seconds": 0.1, "timeout_seconds": 0.1, "fall": 3}
PROBE = VersionProbe(bytes(16)).packet()[:5]


class TunnelServer(asyncio.DatagramProtocol):
    """Takes encapsulated packets."""

    def __init__(self, keys: FleetKeys) -> None:
        self.keys = keys
        self.silent = False
        self.got: list[tuple[Address, bytes]] = []
        self.transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()

    @property
    def address(self) -> Address:
        assert self.transport is not None
        host, port = self.transport.get_extra_info("sockname")
        return host, port

    @property
    def name(self) -> bytes:
        return _native.derived_server_id(self.address)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        _, client, packet = self.keys.encapsulation.open(data)
        if self.silent:
            return
        assert self.transport is not None
        if packet.startswith(PROBE):
            assert len(packet) == PROBE_OCTETS
            answer = answer_to(packet)
        else:
            self.got.append((client, packet))
            answer = self.name + packet
        self.transport.sendto(self.keys.encapsulation.reply(client, answer), addr)


class Client(asyncio.DatagramProtocol):
    """Sends packets and waits for what comes back."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, balancer: Address) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=balancer)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def send(self, packet: bytes) -> None:
        assert self._transport is not None
        self._transport.sendto(packet)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        pass

    async def ask(self, packet: bytes) -> bytes:
        """Send until there is an answer to this packet; which server gave it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                self.send(packet)
                try:
                    async with asyncio.timeout(0.5):
                        while not (answer := await self.heard.get()).endswith(packet):
                            pass
                    return answer[:8]
                except TimeoutError:
                    continue


_nonces = itertools.count(1)


def short_packet(keys: FleetKeys, server: bytes) -> bytes:
    """A packet of a connection that this server has, under the keys in use."""
    nonce = next(_nonces).to_bytes(8, "big")
    return b"\x40" + keys.quic_lb[0].encode(server, nonce) + bytes(40)


def first_packet() -> bytes:
    """The first packet of a new connection."""
    unroutable = bytes([0xE7]) + next(_nonces).to_bytes(7, "big")
    return b"\xc0\x00\x00\x00\x01\x08" + unroutable + b"\x00" + bytes(1180)


def write_keys(path: Path, keys: FleetKeys) -> None:
    """Put the file in place, as `legato keys` does."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(keys.dump())
    new.replace(path)


def settings(folder: Path, **changes: object) -> BalancerSettings:
    """Settings for a test."""
    wanted: dict[str, object] = {
        "listen": ("127.0.0.1:0",),
        "threads": 1,
        "keys_file": folder / "fleet.keys",
        "keys_seconds": 0.02,
        "health": QUICK,
        "admin": {"port": 0},
    }
    return BalancerSettings.model_validate(wanted | changes)


@asynccontextmanager
async def scene(folder: Path, servers: int = 2) -> AsyncIterator[tuple[FleetKeys, list[TunnelServer]]]:
    """Keys in a file, and servers that have them."""
    keys = FleetKeys.new()
    write_keys(folder / "fleet.keys", keys)
    async with AsyncExitStack() as stack:
        running = []
        for _ in range(servers):
            server = TunnelServer(keys)
            await server.start()
            stack.callback(server.close)
            running.append(server)
        yield keys, running


@asynccontextmanager
async def balancing(
    wanted: BalancerSettings, descriptors: list[int] | None = None
) -> AsyncIterator[Balancer]:
    """A balancer that runs."""
    balancer = Balancer(wanted)
    try:
        await balancer.start(descriptors)
        yield balancer
    finally:
        await balancer.close()


@asynccontextmanager
async def calling(balancer: Address) -> AsyncIterator[Client]:
    """A client."""
    client = Client()
    await client.start(balancer)
    try:
        yield client
    finally:
        client.close()


def listed(servers: list[TunnelServer]) -> dict[str, object]:
    """The discovery settings of a list of servers."""
    return {"static": {"servers": tuple(f"127.0.0.1:{server.address[1]}" for server in servers)}}
