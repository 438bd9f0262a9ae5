"""`legato balance` with its plane in the kernel (XDP), in networks of its own.

    callers ──────── clients [balancer] server0 ──────── server 0
    (a router's way)                    server1 ──────── server 1

All are processes and real calls. While the balancer is dead the kernel is all that forwards, and the test
would notice a single call that is lost. It needs root and a kernel that lets it, and says so where it does
not.
"""

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.end_to_end.balanced import AGENT, STAYING, Caller, all_stay, calls, homes, program
from tests.end_to_end.fleet import PATIENCE_S, FleetServer
from tests.end_to_end.networks import Network, bpf_files, join, networks, obstacle

from legato import ClientSettings
from legato.fleet_keys import FleetKeys
from legato.lb.plane import PROGRAM
from legato.trust import development_hashes, development_key

CALLS = 16
PORT = 4433

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Addresses:
    """Where everybody is, in one version of IP."""

    version: int
    balancer: str
    callers: str
    far: str
    """Where callers also are, behind a router as the Internet is."""
    servers: str
    """With the number of a server in it."""
    length: int

    def server(self, number: int, host: int) -> str:
        return self.servers.format(number=number, host=host)


V4 = Addresses(4, "10.77.0.1", "10.77.0.2", "10.79.0.{}", "10.78.{number}.{host}", 24)
V6 = Addresses(6, "fd77::1", "fd77::2", "fd79::{}", "fd78:{number}::{number}{host}", 64)


class World:
    """The networks and what runs in them."""

    def __init__(self, folder: Path, pins: Path, made: list[Network], addresses: Addresses) -> None:
        self.folder = folder
        self.pins = pins / "legato"
        self.callers, self.middle, *self.places = made
        self.addresses = addresses
        self.servers: list[FleetServer] = []
        self._lay()

    def _lay(self) -> None:
        at = self.addresses
        join(self.callers, "uplink", self.middle, "clients")
        self._address(self.callers, "uplink", at.callers)
        self._address(self.middle, "clients", at.balancer)
        self.callers.ip(f"route add default via {at.balancer}")
        # As a neighbour a caller has one address, and others that a router would know the way to.
        for host in (1, 2):
            self.callers.ip(f"addr add {at.far.format(host)}/{32 if at.version == 4 else 128} dev lo")
            self.middle.ip(f"route add {at.far.format(host)} via {at.callers}")
        for number, place in enumerate(self.places):
            join(place, "uplink", self.middle, f"server{number}")
            self._address(place, "uplink", at.server(number, 2))
            self._address(self.middle, f"server{number}", at.server(number, 1))
            place.ip(f"route add default via {at.server(number, 1)}")
        for network in (self.callers, *self.places):
            network.finish_frames("uplink")
        self.middle.set(f"ipv{at.version}/conf/all/forwarding", "1")

    def _address(self, network: Network, interface: str, address: str) -> None:
        nodad = " nodad" if self.addresses.version == 6 else ""
        network.ip(f"addr add {address}/{self.addresses.length} dev {interface}{nodad}")

    @property
    def keys(self) -> str:
        return str(self.folder / "fleet.keys")

    def host(self, address: str, port: int) -> str:
        return f"{address}:{port}" if self.addresses.version == 4 else f"[{address}]:{port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the servers."""
        with ExitStack() as stack:
            for number, place in enumerate(self.places):
                at = self.host(self.addresses.server(number, 2), 4434)
                words = ["--keys", self.keys, "--tunnel", at, "--balancer", self.addresses.balancer]
                serve = ("serve", "--agent", AGENT, "--port", "0", *words)
                server = stack.enter_context(program(self.folder, *serve, network=place.command))
                server.wait_for_it()
                self.servers.append(server)
            yield

    @contextmanager
    def balancing(self, *flags: str) -> Iterator[FleetServer]:
        """Run a balancer whose servers are ready."""
        listed = [
            word
            for number in range(len(self.places))
            for word in ("--server", self.host(self.addresses.server(number, 2), 4434))
        ]
        listen = ["--listen", self.host(self.addresses.balancer, PORT), "--admin-port", "0"]
        words = ["--keys", self.keys, *listen, *listed, *flags]
        with program(self.folder, "balance", *words, network=self.middle.command) as balancer:
            balancer.logged("operators")
            told = sum(line.get("state") == "ready" for line in balancer.log)
            while told < len(self.places):
                told += balancer.logged("server")["state"] == "ready"
            yield balancer

    def in_kernel(self, mode: str) -> list[str]:
        """The flags for a plane in the kernel on all three interfaces."""
        config = self.folder / f"{mode}.toml"
        config.write_text(f'[xdp]\nmode = "{mode}"\npins = "{self.pins}"\n')
        interfaces = ["clients", *(f"server{number}" for number in range(len(self.places)))]
        named = [word for interface in interfaces for word in ("--interface", interface)]
        return ["--plane", "xdp", "--config", str(config), *named]

    @property
    def settings(self) -> ClientSettings:
        """How callers reach it, and whom they trust."""
        hashes = tuple(development_hashes("localhost", self.folder / "legato"))
        key = development_key("localhost", self.folder / "legato")
        return replace(STAYING, certificate_hashes=hashes, token=key)

    @property
    def url(self) -> str:
        return f"https://{self.host(self.addresses.balancer, PORT)}"

    def ask(self, balancer: FleetServer, method: str, path: str) -> dict[str, Any]:
        """What the operators' side of a balancer answers."""
        operators = next(line["address"] for line in balancer.log if line["event"] == "operators")
        url = f"http://{operators}{path}"
        answer = self.middle.run(lambda: httpx.request(method, url, timeout=PATIENCE_S, trust_env=False))
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def programs(self) -> int:
        """On how many interfaces there is a program."""
        shown = subprocess.run(
            [*self.middle.command, "ip", "link"], capture_output=True, text=True, check=True
        )
        return shown.stdout.count("prog/xdp")


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if not PROGRAM.exists():
        pytest.skip("the program for the kernel is not built: there is no clang")
    why = obstacle(tmp_path / "trial")
    if why is not None:
        pytest.skip(why)
    keys = tmp_path / "fleet.keys"
    keys.touch(mode=0o600)
    keys.write_bytes(FleetKeys.new().dump())
    with bpf_files(tmp_path / "bpf") as pins, networks(4) as made:
        world = World(tmp_path, pins, made, request.param)
        with world.serving():
            yield world


@pytest.mark.parametrize("world", [V4], indirect=True)
def test_calls_outlive_the_balancer_in_the_kernel(world: World) -> None:
    flags = world.in_kernel("native")
    handover = ("--handover", str(world.folder / "handover"))
    with ExitStack() as balancers:
        first = balancers.enter_context(world.balancing(*flags))

        async def scenario() -> None:
            async with calls([world.url] * CALLS, world.settings) as callers:
                before = await homes(callers)
                assert len(set(before)) == 2
                status = world.ask(first, "GET", "/status")
                plane, packets = status["plane"], status["packets"]
                assert (plane["name"], plane["mode"], len(plane["interfaces"])) == ("xdp", "native", 3)
                # Neighbours have to be found, and what senders have joined to be cut up; little else.
                assert packets["passed"] < packets["received"] / 4
                assert packets["routes"]["connection_id"] >= CALLS
                await without_balancer(world, first, callers, before)
                second = balancers.enter_context(world.balancing(*flags, *handover))
                await all_stay(callers, before)
                for caller in callers:
                    caller.session.migrate((world.addresses.far.format(2), 0))
                await all_stay(callers, before)
                status = world.ask(second, "GET", "/status")
                assert status["packets"]["routes"]["connection_id"] >= CALLS
                world.ask(second, "PUT", f"/servers/{status['servers'][0]['address']}/drain")
                async with calls([world.url] * 4, world.settings) as later:
                    assert len(set(await homes(later))) == 1
                await all_stay(callers, before)
                third = balancers.enter_context(world.balancing(*flags, *handover))
                assert await asyncio.to_thread(second.process.wait, PATIENCE_S) == 0
                await all_stay(callers, before)
                assert world.programs() == 3
                third.stop()
                assert await asyncio.to_thread(third.process.wait, PATIENCE_S) == 0
                assert world.programs() == 0
                assert not list(world.pins.iterdir())

        world.callers.run_async(scenario)


@pytest.mark.parametrize("world", [V6], indirect=True)
def test_it_works_over_ipv6_and_without_a_driver(world: World) -> None:
    with world.balancing(*world.in_kernel("generic")) as balancer:

        async def scenario() -> None:
            async with calls([world.url] * CALLS, world.settings) as callers:
                before = await homes(callers)
                assert world.ask(balancer, "GET", "/status")["plane"]["mode"] == "generic"
                await without_balancer(world, balancer, callers, before)

        world.callers.run_async(scenario)


async def without_balancer(
    world: World, balancer: FleetServer, callers: Sequence[Caller], before: list[int]
) -> None:
    """Kill it: nobody is there but the kernel, for calls that are up and for new ones."""
    balancer.kill()
    balancer.process.wait()
    await all_stay(callers, before)
    for caller in callers:
        caller.session.migrate()
    await all_stay(callers, before)
    for caller in callers:
        caller.session.migrate((world.addresses.far.format(1), 0))
    await all_stay(callers, before)
    async with calls([world.url] * 2, world.settings) as others:
        assert set(await homes(others)) <= set(before)
