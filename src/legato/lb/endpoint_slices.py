"""What EndpointSlices mean: which servers a service has, and which of them take calls.

Owns reading the objects. Must not know how they arrive.

| conditions of an endpoint | here |
|---|---|
| ready, or not said | takes calls |
| not ready: terminating, or its probe fails | drains: keeps its calls |
| not in any slice | not listed |
"""

from collections.abc import Mapping
from typing import Any

from legato.core.errors import SettingsError
from legato.lb.servers import Listed, Snapshot, address_of, order

__all__ = ["Slices"]


class Slices:
    """All slices of a service, kept up to date."""

    def __init__(self, port_name: str) -> None:
        self._port_name = port_name
        self._slices: dict[str, tuple[list[Listed], list[str]]] = {}

    def apply(self, kind: str, found: Mapping[str, Any]) -> None:
        """Take an event of the API (ADDED, MODIFIED, DELETED) with its object; other kinds do nothing."""
        metadata = found.get("metadata")
        name = str(metadata.get("name")) if isinstance(metadata, Mapping) else "?"
        if kind == "DELETED":
            self._slices.pop(name, None)
        elif kind in ("ADDED", "MODIFIED"):
            self._slices[name] = self._read(name, found)

    def snapshot(self) -> Snapshot:
        """The servers of all slices.

        One that moves from slice to slice is in two for a while: it counts once, and takes calls if either
        says so.
        """
        servers: dict[tuple[str, int], Listed] = {}
        problems: list[str] = []
        for listed, wrong in self._slices.values():
            problems += wrong
            for server in listed:
                before = servers.get(server.address)
                if before is None or before.draining:
                    servers[server.address] = server
        ordered = tuple(servers[address] for address in sorted(servers, key=order))
        return Snapshot(servers=ordered, problems=tuple(sorted(set(problems))))

    def _read(self, name: str, found: Mapping[str, Any]) -> tuple[list[Listed], list[str]]:
        if found.get("addressType") not in ("IPv4", "IPv6"):
            return [], [f"EndpointSlice {name} has no IP addresses but {found.get('addressType')!r}"]
        port = self._port(found.get("ports"))
        endpoints = found.get("endpoints") or []
        if not isinstance(endpoints, list):
            return [], [f"EndpointSlice {name} has no list of endpoints"]
        if port is None:
            wrong = f"EndpointSlice {name} has no UDP port named {self._port_name!r}"
            return [], [wrong] if endpoints else []
        servers: list[Listed] = []
        problems: list[str] = []
        for endpoint in endpoints:
            try:
                servers.append(_server(endpoint, port))
            except (SettingsError, LookupError, TypeError, AttributeError) as error:
                problems.append(f"an endpoint of EndpointSlice {name} is left out: {error}")
        return servers, problems

    def _port(self, ports: object) -> int | None:
        for port in ports if isinstance(ports, list) else []:
            if not isinstance(port, Mapping) or port.get("protocol") != "UDP":
                continue
            number = port.get("port")
            if port.get("name") == self._port_name and isinstance(number, int):
                return number
        return None


def _server(endpoint: Mapping[str, Any], port: int) -> Listed:
    # The addresses of one endpoint are the same pod; only the first means anything (API reference).
    address = address_of(str(endpoint["addresses"][0]), port)
    ready = (endpoint.get("conditions") or {}).get("ready")
    return Listed(address=address, draining=ready is False)
