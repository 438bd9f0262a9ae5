"""The balancer: discovery, probes and reports feed the fleet, and the forwarder gets what comes of it.

Owns the order of things in time, and nothing else: decisions are the fleet's, packets the forwarder's.
Forwarding never waits for anything here. If this process stalls, packets go on as they went before.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path

import structlog

from legato import _native
from legato._plugins import resolve
from legato.core.errors import SettingsError, TransportError
from legato.fleet_keys import FleetKeys
from legato.lb.discovery.base import Discovery
from legato.lb.fleet import Fleet
from legato.lb.health import Probes
from legato.lb.load_reports import LoadReports
from legato.lb.plane import Plane, choose_plane, is_left, only_userspace
from legato.lb.probing import ProbeSockets
from legato.lb.servers import Address, Snapshot, shown
from legato.lb.settings import BalancerSettings
from legato.lb.states import State
from legato.lb.view import make_view, names_under
from legato.lb.watched_keys import watch_keys
from legato.lb.weights import Load

__all__ = ["Balancer", "now_us"]

FIRST_WAIT_S = 2.0
"""How long the start waits for what it would rather know before the first packet."""

log = structlog.get_logger(__name__)


def now_us() -> int:
    """The clock of everything here: microseconds, the forwarder's own."""
    return time.monotonic_ns() // 1000


class Balancer:
    """One balancer. `start` once, `close` once."""

    def __init__(self, settings: BalancerSettings) -> None:
        """Read the keys and find the source of servers. Raises `SettingsError`."""
        if settings.keys_file is None:
            raise SettingsError(
                "a balancer needs the fleet's keys: make a file with `legato keys new fleet.keys`, give it to"
                " every server and balancer, and name it with --keys"
            )
        self.settings = settings
        self.keys_file: Path = settings.keys_file
        self.keys = FleetKeys.load(self.keys_file)
        self.key_problem: str | None = None
        self.view_problem: str | None = None
        self.listen_problem: str | None = None
        self.plane: Plane = only_userspace("the choice is not made yet")
        self.fleet = Fleet(settings.fleet_terms, names_under(self.keys))
        self.started_us = now_us()
        self._discovery: Discovery = resolve("lb.discovery", settings.discovery.source)(settings.discovery)
        self._reports = LoadReports(settings.health, self._reported)
        self._probes = Probes(settings.probe_terms, os.urandom)
        self._sockets = ProbeSockets(self.keys.encapsulation, self._probe_answered)
        self._forwarder: _native.Forwarder | None = None
        self._in_force = -1
        self._kernel_waits = False
        self._wake = asyncio.Event()
        self._turned = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def forwarder(self) -> _native.Forwarder:
        """The packets' side; there from `start` on."""
        assert self._forwarder is not None
        return self._forwarder

    @property
    def addresses(self) -> list[Address]:
        """Where clients reach the balancer."""
        return self.forwarder.addresses()

    @property
    def problems(self) -> list[str]:
        """What an operator should look at, in sentences."""
        own = (self.key_problem, self.view_problem, self.listen_problem)
        return [*(text for text in own if text is not None), *self.fleet.problems]

    async def start(self, descriptors: list[int] | None = None) -> None:
        """Learn the servers and forward, with the sockets of another balancer if they are given.

        Who knows no server takes nothing from one that may know some. Raises `SettingsError` or
        `TransportError` with one sentence for the operator.
        """
        await self._sockets.open(self.settings.addresses)
        self._task(self._discover(), "discovery")
        self._task(self._watch_over(), "health")
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WAIT_S):
                await self.until(lambda: bool(self.fleet.members or self.fleet.problems))
                if descriptors is not None:
                    # The other one forwards until then; from then on new calls may come to either.
                    await self.until(lambda: State.READY in self.states.values())
        if descriptors is not None and not self.fleet.members:
            reason = self.problems[0] if self.problems else "the source of servers does not answer"
            raise TransportError(f"the balancer before goes on, as this one knows no server: {reason}")
        self._forwarder = self._forwarding(self._view(), descriptors)
        self._wake.set()
        self._task(self._reports.run(self._load_urls), "load reports")
        self._task(self._watch_keys(), "keys")
        log.info(
            "forwarding",
            addresses=[shown(address) for address in self.addresses],
            threads=self.forwarder.counters().threads,
            keys=self.keys.fingerprint,
            servers=len(self.fleet.members),
        )

    async def take_plane(self) -> None:
        """Choose what forwards. Raises `TransportError` if the settings demand what cannot be had.

        What a killed balancer left in the kernel is not replaced by one that knows no server: it goes on
        until the source of servers is there again.
        """
        if is_left(self.settings.xdp.pins):
            # Until servers have answered this one, the kernel goes on by what a killed one knew.
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WAIT_S):
                    await self.until(lambda: State.READY in self.states.values())
            self._kernel_waits = not self.fleet.members
        if self._kernel_waits:
            self._on_plane(only_userspace("what is in the kernel is left alone until a server answers"))
        else:
            self._choose_plane()

    def _choose_plane(self) -> None:
        self._on_plane(choose_plane(self.forwarder, self._view(), self.settings))

    def _on_plane(self, plane: Plane) -> None:
        self.plane = plane
        log.info(
            "plane",
            name=self.plane.name,
            mode=self.plane.mode,
            interfaces=list(self.plane.interfaces),
            why=self.plane.why,
        )

    @property
    def states(self) -> dict[Address, State]:
        """How each server is."""
        return {address: member.state for address, member in self.fleet.members.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, which is looked at whenever anything has happened."""
        while not condition():
            self._turned.clear()
            await self._turned.wait()

    def _view(self) -> _native.ForwarderView:
        return make_view(self.keys, self.fleet.backends(), self.settings.routing)

    def _forwarding(self, view: _native.ForwarderView, descriptors: list[int] | None) -> _native.Forwarder:
        if descriptors is not None:
            inherited = _native.Forwarder.inherit(descriptors, view)
            self._compare(inherited.addresses())
            return inherited
        try:
            return _native.Forwarder(self.settings.addresses, view, self.settings.threads)
        except TransportError as error:
            raise TransportError(
                f"{error}: --listen needs an address of this machine and a port that nobody uses; ports below"
                " 1024 need the capability NET_BIND_SERVICE"
            ) from None

    def _compare(self, inherited: list[Address]) -> None:
        """Note that sockets were taken over which are not those that the settings want."""
        hosts = {host for host, _ in inherited}
        wanted = [(host, port) for host, port in self.settings.addresses if port or host not in hosts]
        missing = [address for address in wanted if address not in inherited]
        if missing or len(inherited) > len(self.settings.addresses):
            self.listen_problem = (
                f"it listens at {', '.join(map(shown, inherited))} as the balancer before, not at"
                f" {', '.join(map(shown, self.settings.addresses))}: stop it and start it anew to change that"
            )
            log.warning("listen", problem=self.listen_problem)

    async def close(self, *, leave_kernel: bool = False) -> None:
        """Stop forwarding and everything else. Servers and clients notice nothing but silence.

        With `leave_kernel` a plane in the kernel goes on until a successor takes it over.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sockets.close()
        if self._forwarder is not None:
            self._forwarder.close(leave_kernel=leave_kernel)

    async def ended(self) -> None:
        """Wait until a part of the balancer fails, which none should; raises what it raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def drain(self, address: Address, wanted: bool) -> bool:
        """Take a server out, or back in. False if there is no such server."""
        known = self.fleet.drain(address, wanted, now_us())
        self._wake.set()
        return known

    def _task(self, work: object, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))  # type: ignore[arg-type]

    async def _discover(self) -> None:
        async with aclosing(self._discovery.watch()) as snapshots:
            async for snapshot in snapshots:
                self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        before = self.fleet.problems
        self.fleet.listed(snapshot, now_us())
        for problem in self.fleet.problems:
            if problem not in before:
                log.warning("list of servers", problem=problem)
        self._wake.set()

    def _load_urls(self) -> list[tuple[Address, str | None]]:
        return [
            (address, member.listed.load_url)
            for address, member in self.fleet.members.items()
            if member.state is not State.DEAD
        ]

    def _reported(self, address: Address, load: Load) -> None:
        self.fleet.reported(address, load, now_us())
        self._wake.set()

    def _probe_answered(self, packet: bytes) -> None:
        answer = self._probes.received(packet, now_us())
        if answer is not None:
            self.fleet.answered(answer.address, answer.rtt_us, now_us())
            self._wake.set()

    async def _watch_over(self) -> None:
        """Probe servers, let time pass for the fleet, and hand on what comes of it, for ever."""
        while True:
            self._wake.clear()
            now = now_us()
            for address in self._probes.unanswered(now):
                self.fleet.missed(address, now)
            self.fleet.on_time(now)
            self._probes.keep(self.fleet.members, now)
            for address, packet in self._probes.due(now):
                self._sockets.send(address, packet)
            self._hand_on()
            if self._kernel_waits and any(state is not State.JOINING for state in self.states.values()):
                self._kernel_waits = False
                self._choose_plane()
            self._turned.set()
            times = [
                at for at in (self._probes.next_deadline(), self.fleet.next_deadline()) if at is not None
            ]
            with suppress(TimeoutError):
                async with asyncio.timeout((min(times) - now_us()) / 1e6 if times else None):
                    await self._wake.wait()

    def _hand_on(self) -> None:
        """Give the forwarder a new view if anything that it depends on has changed."""
        for change in self.fleet.changes():
            log.info(
                "server",
                server=shown(change.address),
                state=change.after.value,
                before=change.before and change.before.value,
                reason=change.reason,
            )
        if self._in_force == self.fleet.version or self._forwarder is None:
            return
        self._in_force = self.fleet.version
        try:
            self._forwarder.set_view(self._view())
        except TransportError as error:
            self.view_problem = None
            self.plane = only_userspace(f"no longer in the kernel: {error}")
            log.warning("plane", name=self.plane.name, why=self.plane.why)
        except SettingsError as error:
            self.view_problem = f"the view before stays in force: {error}"
            log.error("view refused", problem=str(error))
        else:
            self.view_problem = None

    async def _watch_keys(self) -> None:
        async with aclosing(watch_keys(self.keys_file, self.keys, self.settings.keys_seconds)) as changes:
            async for found in changes:
                try:
                    if isinstance(found, SettingsError):
                        raise found
                    self.key_problem = self.keys.check_successor(found)
                except SettingsError as error:
                    self.key_problem = f"the keys in use stay: {error}"
                else:
                    self._use(found)
                if self.key_problem is not None:
                    log.error("keys", problem=self.key_problem)

    def _use(self, keys: FleetKeys) -> None:
        self.keys = keys
        self._sockets.keys = keys.encapsulation
        self.fleet.rename(names_under(keys), now_us())
        self._in_force = -1
        self._wake.set()
        log.info("keys", fingerprint=keys.fingerprint, generation=keys.generation)
