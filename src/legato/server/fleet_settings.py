"""What makes a server one of a fleet, as an operator writes it down; must not know keys or packets."""

import base64
import binascii
import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from legato._settings import Group

__all__ = ["FleetSettings", "host_and_port"]

SERVER_ID_OCTETS = 8


def host_and_port(text: str) -> tuple[str, int]:
    """The two parts of an address such as 10.0.0.1:4434 or [fd00::1]:4434. Raises `ValueError`."""
    host, separator, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        address = None
    bracketed = host != bare
    if not separator or address is None or (address.version == 6) != bracketed or not _is_port(port):
        raise ValueError(
            f"{text!r} is no address: write an IP address, a colon and a port, such as 10.0.0.1:4434 or"
            " [fd00::1]:4434"
        )
    return bare, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65535


class FleetSettings(Group):
    """Servers behind balancers: see the page about load balancing. Without `keys` a server stands alone."""

    keys: Path | None = Field(
        default=None,
        description="File with the fleet's secrets (`legato keys new`), the same at every server and"
        " balancer; a new version is taken up while calls go on.",
    )
    tunnel: str | None = Field(
        default=None,
        description="Address and port at which balancers reach this server, such as 10.0.0.1:4434. It gives"
        " the server its ID, and no two servers may have the same. With workers, each takes a port: this one"
        " and those after it.",
    )
    balancers: tuple[str, ...] = Field(
        default=(), description="Networks of the balancers, such as 10.0.0.0/24; nobody else is believed."
    )
    server_id: str | None = Field(
        default=None,
        description="Server ID of 8 octets (16 hexadecimal digits, or base64) instead of the derived one.",
    )
    profile: Literal["quic-lb", "aws-nlb"] = Field(
        default="quic-lb",
        description="How connection IDs are made: encrypted for legato's balancer, or in clear for the"
        " network load balancer of AWS, which needs `server_id`.",
    )
    preferred_addresses: tuple[str, ...] = Field(
        default=(),
        description="Addresses of this server, one of each family, where callers are asked to go on without a"
        " balancer (RFC 9000 §9.6). Firefox does, Chromium does not.",
    )
    cid_lifetime_seconds: float = Field(
        default=600,
        ge=1,
        le=86_400,
        description="How long connections keep their connection IDs, and so how long after a rotation old"
        " keys are in use.",
    )

    @field_validator("tunnel")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            host, _ = host_and_port(value)
            if ipaddress.ip_address(host).is_unspecified:
                raise ValueError(
                    f"{value} does not say where balancers reach this server: name its own address"
                )
        return value

    @field_validator("preferred_addresses")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        versions = [ipaddress.ip_address(host_and_port(text)[0]).version for text in value]
        if len(set(versions)) != len(versions):
            raise ValueError("fleet.preferred_addresses takes one IPv4 and one IPv6 address at most")
        return value

    @field_validator("balancers")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no network ({error}): write one such as 10.0.0.0/24") from None
        return value

    @field_validator("server_id")
    @classmethod
    def _is_id(cls, value: str | None) -> str | None:
        if value is not None:
            _octets(value)
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        given = [name for name in ("tunnel", "balancers", "server_id") if getattr(self, name)]
        if self.keys is None and given:
            raise ValueError(f"fleet.{given[0]} needs fleet.keys: make them with `legato keys new FILE`")
        if (self.tunnel is None) != (not self.balancers):
            have, lack = ("tunnel", "balancers") if self.tunnel else ("balancers", "tunnel")
            raise ValueError(f"fleet.{have} needs fleet.{lack} beside it")
        if self.profile == "aws-nlb" and (self.server_id is None or self.tunnel is not None):
            raise ValueError(
                "fleet.profile = aws-nlb needs fleet.server_id, the ID that the target is registered with,"
                " and no fleet.tunnel: AWS passes packets on as they are"
            )
        return self

    @property
    def server_id_octets(self) -> bytes | None:
        """The server ID that was given."""
        return None if self.server_id is None else _octets(self.server_id)


def _octets(text: str) -> bytes:
    digits = text.removeprefix("0x")
    try:
        octets = bytes.fromhex(digits) if len(digits) == 2 * SERVER_ID_OCTETS else b""
        octets = octets or base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        octets = b""
    if len(octets) != SERVER_ID_OCTETS:
        raise ValueError(f"{text!r} is no server ID: write 16 hexadecimal digits, or 8 octets in base64")
    return octets
