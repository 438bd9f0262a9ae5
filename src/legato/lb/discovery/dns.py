"""Servers from DNS: the addresses of a name, or its SRV records.

Owns questions and how long answers count. dnspython speaks the protocol.

A list is whole or it is none: if one of the questions fails, what was known before stays, with the reason.
"No such record" is no failure but an answer. A record that is no server's address is left out. Of SRV records
those of the lowest priority are used (RFC 2782), and their weights are the servers' weights.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legato.core.errors import SettingsError
from legato.lb.discovery.base import Discovery, Pause, Retrying
from legato.lb.discovery_settings import DiscoverySettings, DnsSource
from legato.lb.servers import Address, Listed, Snapshot, address_of, order

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

__all__ = ["DnsDiscovery", "build"]

MAX_WEIGHT = 1000


def build(settings: DiscoverySettings) -> Discovery:
    """The source that `[discovery.dns]` describes."""
    if settings.dns.name is None:
        raise SettingsError("discovery.dns.name is missing: which name has the servers' addresses?")
    return DnsDiscovery(settings.dns)


class _UnansweredError(Exception):
    """A question failed; the text says which and why."""


@dataclass(frozen=True)
class _Answer:
    records: tuple[Any, ...]
    ttl_s: float


@dataclass(frozen=True)
class _Found:
    """The addresses of a name."""

    addresses: tuple[Address, ...]
    problems: tuple[str, ...]
    ttl_s: float


class DnsDiscovery:
    """Asks again when answers expire."""

    def __init__(self, source: DnsSource, pause: Pause = asyncio.sleep) -> None:
        """Raises `SettingsError` if dnspython is missing or a nameserver cannot be one."""
        self._source = source
        self._pause = pause
        self._resolver = _resolver(source)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the addresses of the name; see `Discovery.watch`."""
        retrying = Retrying(self._source.least_seconds, self._source.most_seconds)
        while True:
            try:
                snapshot, ttl_s = await self._ask()
            except _UnansweredError as failure:
                new, wait_s = retrying.failed(str(failure)), retrying.wait_s()
            else:
                new = retrying.read(snapshot)
                wait_s = min(max(ttl_s, self._source.least_seconds), self._source.most_seconds)
            if new is not None:
                yield new
            await self._pause(wait_s)

    async def _ask(self) -> tuple[Snapshot, float]:
        name = self._source.name or ""
        if self._source.records == "address":
            found = await self._addresses(name, self._source.port)
            return _snapshot([(found, 1)]), found.ttl_s
        answer = await self._query(name, "SRV")
        first = min((record.priority for record in answer.records), default=0)
        targets = [record for record in answer.records if record.priority == first]
        all_found = await asyncio.gather(
            *(self._addresses(target.target.to_text(), target.port) for target in targets)
        )
        # Weights go up to 65535 there.
        scale = max([1.0, *(target.weight / MAX_WEIGHT for target in targets)])
        weights = [max(1, round(target.weight / scale)) for target in targets]
        ttls_s = [answer.ttl_s, *(found.ttl_s for found in all_found)]
        return _snapshot(list(zip(all_found, weights, strict=True))), min(ttls_s)

    async def _addresses(self, name: str, port: int) -> _Found:
        answers = await asyncio.gather(self._query(name, "A"), self._query(name, "AAAA"))
        addresses: list[Address] = []
        problems: list[str] = []
        for answer in answers:
            for record in answer.records:
                try:
                    addresses.append(address_of(record.to_text(), port))
                except SettingsError as error:
                    problems.append(f"an address of {name} is left out: {error}")
        return _Found(tuple(addresses), tuple(problems), min(answer.ttl_s for answer in answers))

    async def _query(self, name: str, kind: str) -> _Answer:
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN

        try:
            answer = await self._resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=self._source.timeout_seconds, search=False
            )
        except NXDOMAIN:
            return _Answer((), self._source.most_seconds)
        except (DNSException, OSError) as error:
            raise _UnansweredError(
                f"DNS has no answer for {name} {kind}: {' '.join(str(error).split())}"
            ) from error
        if answer.rrset is None:
            # How long "there is none" counts stands elsewhere; the other family has a time of its own.
            return _Answer((), self._source.most_seconds)
        return _Answer(tuple(answer.rrset), float(answer.rrset.ttl))


def _snapshot(weighted: list[tuple[_Found, int]]) -> Snapshot:
    """What was found, with the weight of its servers."""
    unique = {
        address: Listed(address=address, weight=weight)
        for found, weight in weighted
        for address in found.addresses
    }
    problems = {problem for found, _ in weighted for problem in found.problems}
    return Snapshot(
        servers=tuple(unique[address] for address in sorted(unique, key=order)),
        problems=tuple(sorted(problems)),
    )


def _resolver(source: DnsSource) -> "Resolver":
    try:
        from dns.asyncresolver import Resolver
        from dns.exception import DNSException
        from dns.nameserver import Do53Nameserver
    except ModuleNotFoundError:
        raise SettingsError("discovery from DNS needs dnspython: pip install 'legato[lb]'") from None
    from legato.lb.discovery.static import parse_address

    try:
        resolver = Resolver(configure=not source.nameservers)
    except (DNSException, OSError) as error:
        raise SettingsError(
            f"this machine has no nameserver: set discovery.dns.nameservers ({error})"
        ) from None
    # Answers are asked for when they expire; a second memory would only hide changes.
    resolver.cache = None
    if source.nameservers:
        asked = [
            text if text.endswith("]") or _has_port(text) else f"{text}:53" for text in source.nameservers
        ]
        resolver.nameservers = [Do53Nameserver(*parse_address(text)) for text in asked]
    return resolver


def _has_port(text: str) -> bool:
    return text.count(":") == 1 or "]:" in text
