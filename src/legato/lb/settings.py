"""What an operator may set about a balancer, and where it comes from.

Owns the settings and reading them: flags over a TOML file over defaults. Must not know who reads them. A
mistake is one `SettingsError` with one sentence.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from legato._settings import Group, Log, merged, nested, read_toml
from legato.core.errors import SettingsError
from legato.lb.discovery.static import parse_address
from legato.lb.discovery_settings import DiscoverySettings
from legato.lb.fleet import FleetTerms
from legato.lb.health import ProbeTerms
from legato.lb.servers import Address, Network, check_load_url

__all__ = [
    "AdminSettings",
    "BalancerSettings",
    "HealthSettings",
    "RoutingSettings",
    "XdpSettings",
    "load_balancer_settings",
]

SECOND = 1_000_000


class RoutingSettings(Group):
    """Where packets may go."""

    allowed: tuple[str, ...] = Field(
        default=(),
        description="Networks that servers may be in, such as `10.0.0.0/8`; by default wherever is listed.",
    )
    derived: bool = Field(
        default=False,
        description="Believe addresses in encrypted connection IDs even if no such server is listed; needs"
        " `routing.allowed`.",
    )
    balancers: tuple[str, ...] = Field(
        default=(),
        description="Other balancers, `address:port` as clients see them: packets from there loop.",
    )
    max_payload: int = Field(
        default=1424, ge=1200, le=65_000, description="Larger packets of clients are dropped, in octets."
    )
    grace_seconds: float = Field(
        default=3,
        ge=0,
        le=3600,
        description="How long packets for a dead server are dropped; then others get them and reset calls.",
    )
    drain_seconds: float = Field(
        default=6 * 3600,
        ge=0,
        description="How long a server that left the list keeps its calls while it answers.",
    )

    @model_validator(mode="after")
    def _usable(self) -> "RoutingSettings":
        for text in self.allowed:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise ValueError(f"routing.allowed: {text!r} is no network, such as 10.0.0.0/8") from None
        for text in self.balancers:
            try:
                parse_address(text)
            except SettingsError as error:
                raise ValueError(f"routing.balancers: {error}") from None
        if self.derived and not self.allowed:
            raise ValueError("routing.derived needs routing.allowed, or the balancer would send to anybody")
        return self

    @property
    def networks(self) -> tuple[Network, ...]:
        """The allowed networks."""
        return tuple(ipaddress.ip_network(text) for text in self.allowed)

    @property
    def siblings(self) -> tuple[Address, ...]:
        """The other balancers."""
        return tuple(parse_address(text) for text in self.balancers)


class HealthSettings(Group):
    """How servers are asked how they are."""

    interval_seconds: float = Field(default=1.0, gt=0, le=60, description="How often each server is probed.")
    timeout_seconds: float = Field(default=0.8, gt=0, le=60, description="How long an answer may take.")
    rise: int = Field(default=1, ge=1, le=100, description="Answers in a row that bring a server in.")
    fall: int = Field(default=3, ge=1, le=100, description="Silences in a row that take it out.")
    load_url: str | None = Field(
        default=None,
        description="Where servers tell their load, such as `https://{host}:4433/readyz`; without it all"
        " count as equally free, and only lists and operators drain.",
    )
    load_seconds: float = Field(default=2.0, gt=0, le=600, description="How often they are asked for it.")
    load_ca_file: Path | None = Field(
        default=None,
        description="Who may sign the certificates shown there (PEM); without it they are not verified, and"
        " the network in between is trusted with weights and drains.",
    )
    load_server_name: str | None = Field(
        default=None, description="Name in those certificates, if it is not the host of the URL."
    )

    @model_validator(mode="after")
    def _usable(self) -> "HealthSettings":
        if self.timeout_seconds > self.interval_seconds:
            raise ValueError("health.timeout_seconds must not exceed health.interval_seconds")
        if self.load_url is not None:
            try:
                check_load_url(self.load_url)
            except SettingsError as error:
                raise ValueError(f"health.load_url: {error}") from None
        return self


class AdminSettings(Group):
    """The operators' side: metrics, status, drain. Only for this machine, unless it is opened on purpose."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=4480, ge=0, le=65535, description="TCP port; 0 takes a free one.")


class XdpSettings(Group):
    """The plane in the kernel, where there is one."""

    interfaces: tuple[str, ...] = Field(
        default=(),
        description="Network interfaces that clients' and servers' packets come by; by default those with"
        " the addresses of `listen`.",
    )
    mode: Literal["auto", "native", "generic"] = Field(
        default="auto", description="`native` by the drivers, `generic` by the kernel for any interface."
    )
    pins: Path = Field(
        default=Path("/sys/fs/bpf/legato"),
        description="Directory in a BPF file system, by which forwarding outlives a killed balancer.",
    )


class BalancerSettings(Group):
    """Every setting of `legato balance`. Constructing it reads nothing."""

    listen: tuple[str, ...] = Field(
        default=("127.0.0.1:4433",),
        min_length=1,
        description="UDP addresses and ports that clients reach; `0.0.0.0` and `[::]` are all of a family.",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="Threads that forward; 0 is one for each core."
    )
    plane: Literal["auto", "xdp", "userspace"] = Field(
        default="auto",
        description="What forwards: `xdp` is the kernel with userspace behind it, `auto` takes it if it can.",
    )
    keys_file: Path | None = Field(
        default=None, description="The fleet's secrets, from `legato keys new`; read again when they change."
    )
    keys_seconds: float = Field(
        default=1.0, gt=0, le=3600, description="How often the file with the secrets is looked at."
    )
    handover: Path | None = Field(
        default=None,
        description="Unix socket over which a running balancer hands its sockets to its successor.",
    )
    discovery: DiscoverySettings = DiscoverySettings()
    routing: RoutingSettings = RoutingSettings()
    health: HealthSettings = HealthSettings()
    xdp: XdpSettings = XdpSettings()
    admin: AdminSettings = AdminSettings()
    log: Log = Log()

    @model_validator(mode="after")
    def _addresses(self) -> "BalancerSettings":
        for text in self.listen:
            listen_address(text)
        return self

    @property
    def addresses(self) -> list[Address]:
        """Where clients reach the balancer."""
        return [listen_address(text) for text in self.listen]

    @property
    def fleet_terms(self) -> FleetTerms:
        """The rules of the fleet."""
        routing, health = self.routing, self.health
        return FleetTerms(
            rise=health.rise,
            fall=health.fall,
            grace_us=round(routing.grace_seconds * SECOND),
            drain_us=round(routing.drain_seconds * SECOND),
            report_us=round(max(10.0, 5 * health.load_seconds) * SECOND),
            allowed=routing.networks,
            balancers=frozenset((*routing.siblings, *self.addresses)),
        )

    @property
    def probe_terms(self) -> ProbeTerms:
        """How servers are probed."""
        return ProbeTerms(
            interval_us=round(self.health.interval_seconds * SECOND),
            timeout_us=round(self.health.timeout_seconds * SECOND),
        )


def listen_address(text: str) -> Address:
    """An address to listen on, port 0 and "all addresses" included. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    try:
        parsed = ipaddress.ip_address(host.strip("[]"))
        if not colon or not port.isdecimal() or int(port) > 65535 or (parsed.version == 6) != ("[" in host):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"listen: {text!r} is no IP address and port, such as 0.0.0.0:443 or [::]:443"
        ) from None
    return str(parsed), int(port)


def load_balancer_settings(flags: Mapping[str, Any], config: Path | None = None) -> BalancerSettings:
    """Gather settings from `flags` (by dotted key, None meaning not given) and the TOML file `config`.

    Raises `SettingsError`.
    """
    file = read_toml(config) if config is not None else {}
    try:
        return BalancerSettings.model_validate(merged(file, nested(flags)))
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key}: see `legato balance --help` and docs/reference/balancer.md"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{key} = {first['input']!r} cannot be used: {first['msg'][0].lower()}{first['msg'][1:]}"
