"""What a source of servers says, and which of it can be used.

Owns the value `Listed`, whole lists of it, and the judgement about bad lists. Must not know where lists come
from, nor whether a server answers.

A list is judged entry by entry: what is wrong with one server harms no other, and every refusal is a sentence
for the operator. Names in connection IDs decide where calls in progress go, so of two servers that claim one
name the one that already had it keeps it; if neither had, the lower address does, at every balancer.
"""

import ipaddress
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from legato.core.errors import SettingsError

__all__ = [
    "MAX_SERVERS",
    "Address",
    "Judged",
    "Listed",
    "Names",
    "Network",
    "Places",
    "Snapshot",
    "address_of",
    "check_load_url",
    "is_web_url",
    "judge",
    "order",
    "shown",
]

Address = tuple[str, int]
"""A numeric IP address, in its shortest notation, and a port."""

Names = Callable[[Address], tuple[bytes, ...]]
"""Calls a server by its address; no name at all if none fits."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_SERVERS = 4096
"""The most servers that a table of new connections balances (`crates/forwarder`)."""

MAX_WEIGHT = 1000
MAX_ID_OCTETS = 15


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One server as a source lists it."""

    address: Address
    """Where it takes encapsulated packets."""
    server_ids: tuple[bytes, ...] = ()
    """Its names in connection IDs; without any it is called by its address (`server_ids.derived`)."""
    weight: int = 1
    """Its share of new connections in relation to others; 0 is none."""
    draining: bool = False
    """Whether it is to get no new connections."""
    load_url: str | None = None
    """Where it tells its load, if not where all do."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a source lists at one moment, never a difference to an earlier moment."""

    servers: tuple[Listed, ...]
    problems: tuple[str, ...] = ()
    """What the source could not read of it, in sentences."""


@dataclass(frozen=True)
class Places:
    """Where servers may be: in one of `allowed`, or anywhere if that is empty, but not at a balancer."""

    allowed: Sequence[Network] = ()
    balancers: Collection[Address] = ()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The part of a list that can be used, with the names spelled out, and what is wrong with the rest."""

    servers: Mapping[Address, Listed]
    problems: tuple[str, ...]


def address_of(host: str, port: int) -> Address:
    """The address in its one notation. Raises `SettingsError` if no server can be there."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(f"{host!r} is no IP address") from None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            raise SettingsError(f"{host}: an address with a zone means nothing on another machine")
        if parsed.is_link_local:
            raise SettingsError(f"{host} is only good on one link, and does not say which")
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_unspecified or parsed.is_multicast or str(parsed) == "255.255.255.255":
        raise SettingsError(f"{host} is not the address of one host")
    if not 1 <= port <= 65535:
        raise SettingsError(f"{host} has no usable port ({port})")
    return str(parsed), port


def is_web_url(text: str) -> bool:
    """Whether it is a URL of HTTP with a host, and a port that there can be."""
    try:
        parts = urllib.parse.urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_load_url(url: str) -> None:
    """Raises `SettingsError` if nobody can be asked there; `{host}` stands for a server's address."""
    if not is_web_url(url.replace("{host}", "host")):
        raise SettingsError(f"{url!r} is no URL to ask for its load, such as https://192.0.2.1:4433/readyz")


def judge(snapshot: Snapshot, known: Mapping[bytes, Address], places: Places, names: Names) -> Judged:
    """Which servers of a list can be used.

    `known` says who has which name now; `places` says where servers may be; `names` calls those that are
    listed without a name.
    """
    problems = list(snapshot.problems)
    accepted: dict[Address, Listed] = {}
    for listed in snapshot.servers:
        problem = _problem(listed, places) or _again(listed, accepted)
        if problem:
            problems.append(problem)
        else:
            accepted.setdefault(listed.address, listed)
    if len(accepted) > MAX_SERVERS:
        problems.append(
            f"{len(accepted)} servers are more than the {MAX_SERVERS} that one balancer takes: the highest"
            " addresses are left out, divide the servers among several balancers"
        )
        accepted = {address: accepted[address] for address in sorted(accepted, key=order)[:MAX_SERVERS]}
    return _unique(accepted, known, names, problems)


def _problem(listed: Listed, places: Places) -> str | None:
    """What is wrong with one entry by itself."""
    host, port = listed.address
    server = f"server {shown(listed.address)}"
    try:
        if address_of(host, port) != listed.address:
            return f"{server} is not written as {shown(address_of(host, port))}"
        if listed.load_url is not None:
            check_load_url(listed.load_url)
    except SettingsError as error:
        return f"{server} is left out: {error}"
    if not 0 <= listed.weight <= MAX_WEIGHT:
        return f"{server} is left out: its weight {listed.weight} is not between 0 and {MAX_WEIGHT}"
    if any(not 1 <= len(name) <= MAX_ID_OCTETS for name in listed.server_ids):
        return f"{server} is left out: a server ID has 1 to {MAX_ID_OCTETS} octets"
    parsed = ipaddress.ip_address(host)
    if listed.address in places.balancers:
        return f"{server} is left out: it is a balancer, and packets would go round in a circle"
    if places.allowed and not any(parsed in network for network in places.allowed):
        return (
            f"{server} is left out: it is outside the allowed networks, and the balancer sends nowhere else"
        )
    return None


def _again(listed: Listed, accepted: Mapping[Address, Listed]) -> str | None:
    """What is wrong if the address was listed before; nothing if both say the same."""
    before = accepted.get(listed.address)
    if before is None or before == listed:
        return None
    return f"server {shown(listed.address)} is listed twice with different facts: the first entry counts"


def _unique(
    accepted: Mapping[Address, Listed],
    known: Mapping[bytes, Address],
    names: Names,
    problems: list[str],
) -> Judged:
    """Leave out servers whose name another one has."""
    spelled = {
        address: _with_ids(listed, listed.server_ids or names(address))
        for address, listed in accepted.items()
    }
    owners: dict[bytes, Address] = {}
    for address in sorted(spelled, key=order):
        for name in spelled[address].server_ids:
            holder = known.get(name)
            has_it = holder in spelled and name in spelled[holder].server_ids if holder else False
            owners.setdefault(name, holder if holder and has_it else address)
    servers: dict[Address, Listed] = {}
    for address in sorted(spelled, key=order):
        listed = spelled[address]
        taken = next((name for name in listed.server_ids if owners[name] != address), None)
        if taken is not None:
            problems.append(
                f"server {shown(address)} is left out: {shown(owners[taken])} has its server ID"
                f" {taken.hex()}, and connection IDs would not tell them apart"
            )
        elif not listed.server_ids:
            problems.append(
                f"server {shown(address)} is left out: it has no server ID, and none that is derived from an"
                " address fits the configurations"
            )
        else:
            servers[address] = listed
    return Judged(servers=servers, problems=tuple(dict.fromkeys(problems)))


def _with_ids(listed: Listed, server_ids: Iterable[bytes]) -> Listed:
    return replace(listed, server_ids=tuple(sorted(set(server_ids))))


def order(address: Address) -> tuple[int, int, int]:
    """Sorts addresses the same way at every balancer."""
    parsed = ipaddress.ip_address(address[0])
    return parsed.version, int(parsed), address[1]


def shown(address: Address) -> str:
    """The address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
