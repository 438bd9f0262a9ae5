"""Servers from a TOML file that somebody writes, or from the settings themselves.

Owns reading the file. It is looked at now and then instead of being watched by the kernel: so it may be
replaced in any way, by an editor, by `mv` or by Kubernetes turning a symbolic link, on any file system.

    [[servers]]
    address = "10.0.0.1:4434"     # where it takes encapsulated packets
    weight = 2                    # its share of new calls, 1 by default
    draining = false              # true: no new calls
    server_ids = ["0a000001..."]  # hexadecimal; derived from the address by default
    load_url = "https://10.0.0.1:4433/readyz"
"""

import asyncio
import tomllib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TypeVar

from legato.core.errors import SettingsError
from legato.lb.discovery.base import Discovery, Pause, Retrying
from legato.lb.discovery_settings import DiscoverySettings
from legato.lb.servers import Address, Listed, Snapshot, address_of

__all__ = ["StaticDiscovery", "build", "parse_address"]

MAX_OCTETS = 4 << 20
"""A longer file is not read."""

T = TypeVar("T")

_KEYS = {"address", "weight", "draining", "server_ids", "load_url"}


def build(settings: DiscoverySettings) -> Discovery:
    """The source that `[discovery.static]` describes."""
    source = settings.static
    if (source.file is None) == (not source.servers):
        raise SettingsError(
            "discovery.static needs servers: name a file (--servers FILE) or list them (--server"
            " ADDRESS:PORT), not both"
        )
    if source.file is None:
        return _Listed(read_entries(list(source.servers)))
    return StaticDiscovery(source.file, source.poll_seconds)


class StaticDiscovery:
    """Reads a file whenever it changes."""

    def __init__(self, file: Path, poll_s: float, pause: Pause = asyncio.sleep) -> None:
        self._file = file
        self._poll_s = poll_s
        self._pause = pause

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the file's list; see `Discovery.watch`."""
        retrying = Retrying()
        before: object = None
        while True:
            try:
                # What the file system says of a file is not enough: two changes may fall into one tick.
                text = await asyncio.to_thread(_read, self._file)
            except (OSError, ValueError) as error:
                now: object = str(error)
                reason = error.strerror if isinstance(error, OSError) else error
                new = retrying.failed(f"{self._file} cannot be read: {reason}")
            else:
                now = text
                new = None if now == before else self._parsed(text, retrying)
            before = now
            if new is not None:
                yield new
            await self._pause(self._poll_s)

    def _parsed(self, text: str, retrying: Retrying) -> Snapshot | None:
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            return retrying.failed(f"{self._file} is no TOML: {error}")
        entries = document.get("servers")
        if not isinstance(entries, list) or document.keys() != {"servers"}:
            return retrying.failed(f"{self._file} needs an array `servers` and nothing else")
        return retrying.read(read_entries(entries))


class _Listed:
    """A list that never changes."""

    def __init__(self, snapshot: Snapshot) -> None:
        if snapshot.problems:
            raise SettingsError(snapshot.problems[0])
        self._snapshot = snapshot

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the list, and nothing more."""
        yield self._snapshot
        await asyncio.Event().wait()


def read_entries(entries: list[object]) -> Snapshot:
    """The servers of a list of strings and tables; what is wrong with an entry is a problem."""
    servers: list[Listed] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            servers.append(_server(entry))
        except SettingsError as error:
            problems.append(f"server {number} of the list is left out: {error}")
    return Snapshot(servers=tuple(servers), problems=tuple(problems))


def parse_address(text: str) -> Address:
    """`192.0.2.1:4434` or `[2001:db8::1]:4434`. Raises `SettingsError`."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not is_number or bracketed != (":" in host):
        raise SettingsError(f"{text!r} is no address and port, such as 192.0.2.1:4434 or [2001:db8::1]:4434")
    return address_of(host.strip("[]"), int(port))


def _server(entry: object) -> Listed:
    if isinstance(entry, str):
        text, star, weight = entry.partition("*")
        if star and not (weight.isdecimal() and len(weight) <= 9):
            raise SettingsError(f"{entry!r} has no whole number as its weight")
        return Listed(address=parse_address(text), weight=int(weight) if star else 1)
    if not isinstance(entry, dict):
        raise SettingsError("it is neither text nor a table")
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is not one of {', '.join(sorted(_KEYS))}")
    return Listed(
        address=parse_address(_of(entry, "address", str, "")),
        weight=_of(entry, "weight", int, 1),
        draining=_of(entry, "draining", bool, False),
        server_ids=tuple(_octets(name) for name in _of(entry, "server_ids", list, [])),
        load_url=_of(entry, "load_url", str, "") or None,
    )


def _of(entry: Mapping[str, object], key: str, kind: type[T], default: T) -> T:
    value = entry.get(key, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"`{key}` is no {kind.__name__}")
    return value


def _octets(name: object) -> bytes:
    try:
        return bytes.fromhex(name) if isinstance(name, str) else b""
    except ValueError:
        raise SettingsError(f"the server ID {name!r} is not hexadecimal") from None


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        octets = opened.read(MAX_OCTETS + 1)
    if len(octets) > MAX_OCTETS:
        raise ValueError(f"it has more than {MAX_OCTETS} octets")
    return octets.decode("utf-8")
