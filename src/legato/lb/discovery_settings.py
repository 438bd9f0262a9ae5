"""Where the balancer finds its servers: settings of all sources.

Must not know how a source reads them.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from legato._settings import Group

__all__ = ["DiscoverySettings", "DnsSource", "KubernetesSource", "StaticSource"]

Port = Annotated[int, Field(ge=1, le=65535)]

TUNNEL_PORT = 4434
"""Where servers take encapsulated packets, unless a source says otherwise."""


class StaticSource(Group):
    """A list that somebody writes."""

    file: Path | None = Field(
        default=None, description="TOML file with an array `servers`; it is read again when it changes."
    )
    servers: tuple[str, ...] = Field(
        default=(),
        description="The list itself, if there is no file: `address:port`, or `address:port*weight`.",
    )
    poll_seconds: float = Field(default=1.0, gt=0, le=60, description="How often the file is looked at.")


class DnsSource(Group):
    """Addresses of a name."""

    name: str | None = Field(default=None, min_length=1, description="The name to resolve.")
    records: Literal["address", "srv"] = Field(
        default="address", description="`address`: A and AAAA. `srv`: SRV, which has ports and weights."
    )
    port: Port = Field(default=TUNNEL_PORT, description="Port of every server, for A and AAAA.")
    nameservers: tuple[str, ...] = Field(
        default=(), description="Whom to ask: `address` or `address:port`; those of the system by default."
    )
    least_seconds: float = Field(
        default=1.0, gt=0, description="Ask no more often, whatever the records say."
    )
    most_seconds: float = Field(
        default=30.0, gt=0, description="Ask no less often, whatever the records say."
    )
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="How long a question may take.")

    @model_validator(mode="after")
    def _in_order(self) -> "DnsSource":
        if self.least_seconds > self.most_seconds:
            raise ValueError("dns.least_seconds must not exceed dns.most_seconds")
        return self


class KubernetesSource(Group):
    """EndpointSlices of a service. Inside a cluster all but the service is found by itself."""

    service: str | None = Field(default=None, min_length=1, description="Name of the service.")
    namespace: str | None = Field(
        default=None, min_length=1, description="Its namespace; the balancer's own by default."
    )
    port_name: str = Field(
        default="tunnel", description="Name of the service's port at which servers take encapsulated packets."
    )
    api_url: str | None = Field(
        default=None, description="URL of the API; inside a cluster the one that every pod is told."
    )
    token_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="Bearer token; read anew for each request, because it is rotated.",
    )
    ca_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        description="Who may sign the API's certificate (PEM).",
    )
    namespace_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace"),
        description="Where the balancer's own namespace stands.",
    )
    watch_seconds: int = Field(
        default=60, ge=1, le=3600, description="A watch is renewed this often; the API may stall no longer."
    )
    retry_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Wait before a first new try; the next ones come later."
    )


class DiscoverySettings(Group):
    """Which source, and the settings of each."""

    source: str = Field(
        default="static",
        min_length=1,
        description="`static`, `dns`, `kubernetes`, or `package.module:attribute`.",
    )
    static: StaticSource = StaticSource()
    dns: DnsSource = DnsSource()
    kubernetes: KubernetesSource = KubernetesSource()
