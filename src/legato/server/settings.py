"""What an operator may set; must not know where a value comes from, nor who reads it.

One frozen model, `ServerSettings`, made of groups. `ServerSettings(...)` validates what it is given and reads
nothing; `settings_sources.load_settings` gathers values. Secrets are `SecretStr`: they print as asterisks.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from legato._settings import Group, Log
from legato.agents.settings import AssistantSettings
from legato.core.terms import LEAST_LATE_MS, MOST_LATE_MS
from legato.server.auth_settings import MIN_SECRET_CHARS, AuthSettings
from legato.server.fleet_settings import FleetSettings
from legato.trust import is_loopback_address

PREFIX = "LEGATO_"
"""What every environment variable of legato starts with."""

CONFIG_VARIABLE = "LEGATO_CONFIG"
"""The variable that names the TOML file when `--config` does not."""


FLAGS = {
    "listen.host": "--host",
    "listen.port": "--port",
    "tls.cert": "--cert",
    "tls.key": "--key",
    "agent": "--agent",
    "fleet.keys": "--keys",
    "fleet.tunnel": "--tunnel",
    "fleet.balancers": "--balancer",
    "auth.required": "--no-auth",
    "log.level": "--log-level",
    "log.format": "--log-format",
    "drain_seconds": "--drain-seconds",
    "workers": "--workers",
}
"""The settings that `legato serve` also takes on the command line."""


class Listen(Group):
    """Where callers reach the server: QUIC over UDP and HTTPS over TCP share one port number."""

    host: str = Field(
        default="localhost",
        min_length=1,
        description="Address or name to listen on; `localhost` is IPv4 and IPv6 loopback, `*` every address.",
    )
    port: int = Field(
        default=4433, ge=0, le=65535, description="Port, the same for UDP and TCP; 0 takes a free one."
    )


class Tls(Group):
    """The certificate; without one the server makes and rotates a development certificate by itself."""

    cert: Path | None = Field(default=None, description="PEM file with the certificate chain, leaf first.")
    key: Path | None = Field(default=None, description="PEM file with the private key of the leaf.")

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Tls":
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            raise ValueError(
                f"tls.{given} needs tls.{missing} beside it, or neither for a development certificate"
            )
        return self

    @property
    def development(self) -> bool:
        """Whether the server uses the development certificate."""
        return self.cert is None


class Limits(Group):
    """What one caller may cost; a session that goes beyond is closed with LIMIT_EXCEEDED (wire/SPEC.md)."""

    calls: int = Field(default=1000, ge=1, description="Calls at once; more are turned away as overloaded.")
    session_seconds: float = Field(default=0, ge=0, description="Longest call in seconds; 0 sets no limit.")
    hello_timeout_seconds: float = Field(
        default=5, gt=0, le=600, description="Time for a new session to say hello."
    )
    audio_rate: int = Field(
        default=4, ge=1, description="Sustained speed of incoming audio, in multiples of real time."
    )
    audio_burst_seconds: float = Field(
        default=300, ge=1, description="Audio that may arrive at any speed before `audio_rate` counts."
    )
    event_bytes: int = Field(
        default=16 << 20,
        ge=1024,
        description="Largest event of a WebSocket caller, audio in base64 included.",
    )
    control_record_bytes: int = Field(default=1 << 20, ge=1024, description="Largest control record.")
    audio_record_bytes: int = Field(default=1 << 16, ge=1024, description="Largest audio record.")
    pending_audio_seconds: float = Field(
        default=30, gt=0, description="Audio held while an earlier part is missing."
    )
    pending_audio_bytes: int = Field(default=4 << 20, ge=1 << 16, description="The same, in bytes.")
    unread_audio_seconds: float = Field(
        default=30, gt=0, description="Audio held for an agent that does not read it."
    )
    unread_audio_bytes: int = Field(default=4 << 20, ge=1 << 16, description="The same, in bytes.")
    uplink_streams: int = Field(
        default=64, ge=1, le=4096, description="Audio streams a caller may have open at once."
    )


class Resume(Group):
    """How a call outlives the connection of its caller."""

    seconds: float = Field(
        default=60,
        ge=0,
        le=3600,
        description="How long a call waits for a caller who lost the connection; 0 ends it at once.",
    )
    keys: tuple[SecretStr, ...] = Field(
        default=(),
        description="Keys that seal resume tickets: the first seals, all open, so a new one is put first and"
        " the old one stays for a day. Servers of one fleet need the same. Without one, tickets end with the"
        " process.",
    )
    server_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Name of this server in its tickets, unlike that of any other; without one, a random"
        " one.",
    )

    @model_validator(mode="after")
    def _keys_are_long(self) -> "Resume":
        if any(len(key.get_secret_value()) < MIN_SECRET_CHARS for key in self.keys):
            raise ValueError(f"resume.keys needs at least {MIN_SECRET_CHARS} random characters each")
        return self


class Engine(Group):
    """How QUIC behaves; the defaults suit voice, and few installations have a reason to touch them."""

    max_idle_ms: int = Field(
        default=30_000, ge=1000, description="A connection silent for this long is over."
    )
    keep_alive_ms: int = Field(
        default=0, ge=0, description="Send a ping after this much silence; 0 leaves that to the client."
    )
    handshake_timeout_ms: int = Field(
        default=10_000, ge=100, description="Time a new connection has until it asks for a session."
    )
    initial_mtu: int = Field(
        default=1200, ge=1200, le=65_527, description="First guess of the packet size, in bytes."
    )
    mtu_upper_bound: int = Field(
        default=1452, ge=1200, le=65_527, description="Where path MTU discovery stops looking."
    )
    receive_window: int = Field(
        default=8 << 20, ge=1 << 16, description="Bytes in flight towards us per connection."
    )
    stream_receive_window: int = Field(
        default=2 << 20, ge=1 << 14, description="Bytes in flight towards us per stream."
    )
    send_buffer_limit: int = Field(
        default=64 << 20, ge=1 << 18, description="Unsent bytes a stream may hold."
    )
    congestion: Literal["cubic", "newreno"] = Field(default="cubic", description="Congestion controller.")
    max_connections: int = Field(default=10_000, ge=1, description="QUIC connections at once, calls or not.")
    retry_threshold: int = Field(
        default=256,
        ge=0,
        description="Unfinished handshakes above which new peers must prove their address (Retry).",
    )
    qlog_dir: Path | None = Field(default=None, description="Directory for one qlog file per connection.")
    key_log_path: Path | None = Field(
        default=None, description="File for TLS secrets (NSS format); for debugging only."
    )

    @model_validator(mode="after")
    def _mtu_in_order(self) -> "Engine":
        if self.initial_mtu > self.mtu_upper_bound:
            raise ValueError(
                f"engine.initial_mtu must not exceed engine.mtu_upper_bound ({self.mtu_upper_bound})"
            )
        return self


class ServerSettings(BaseSettings):
    """Every setting of `legato serve`. Constructing it reads nothing; `load_settings` reads the sources."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    agent: str = Field(
        default="assistant",
        min_length=1,
        description="Who answers: `echo`, `assistant`, or `package.module:attribute`.",
    )
    drain_seconds: float = Field(
        default=30,
        ge=0,
        le=86_400,
        description="Time running calls get to end by themselves when the server is stopped.",
    )
    lead_ms: int = Field(
        default=10_000,
        ge=0,
        le=600_000,
        description="How far a reply may be sent ahead of its playback; callers may ask for less.",
    )
    profile: Literal["turn", "duplex"] = Field(
        default="turn",
        description="What calls get that leave it to the server: every word (`turn`), or only what comes in"
        " time (`duplex`), for models that listen while they speak.",
    )
    late_ms: int = Field(
        default=400,
        ge=LEAST_LATE_MS,
        le=MOST_LATE_MS,
        description="How late audio may be in profile `duplex` and still of use; what is later is left out,"
        " and the agent told so. Callers may ask for more or less.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Processes that share the port; a call stays on its process. Each has limits of its own.",
    )
    listen: Listen = Listen()
    tls: Tls = Tls()
    auth: AuthSettings = AuthSettings()
    assistant: AssistantSettings = AssistantSettings.model_validate({})
    limits: Limits = Limits()
    resume: Resume = Resume()
    fleet: FleetSettings = FleetSettings()
    engine: Engine = Engine()
    log: Log = Log()

    @model_validator(mode="after")
    def _open_to_this_machine_only(self) -> "ServerSettings":
        if not self.auth.required and not is_loopback_address(self.listen.host):
            raise ValueError(
                "auth.required = false (--no-auth) takes calls from anyone, and so only works on a loopback"
                f" listen.host (localhost, 127.0.0.1, ::1), not {self.listen.host!r}: leave it out, or listen"
                " there"
            )
        return self

    @model_validator(mode="after")
    def _workers_have_names(self) -> "ServerSettings":
        fleet = self.fleet
        if self.workers > 1 and fleet.server_id is None and (fleet.tunnel or "").startswith("["):
            raise ValueError(
                "workers behind a tunnel with an IPv6 address need fleet.server_id: the ID that is derived"
                " from such an address does not tell ports apart"
            )
        return self

    @model_validator(mode="after")
    def _keys_within_limits(self) -> "ServerSettings":
        for key in self.auth.keys:
            for name, value in key.limits:
                most = getattr(self.limits, name)
                if value is not None and most and value > most:
                    raise ValueError(
                        f"the limit {name} = {value} of the key {key.name} in auth.keys exceeds"
                        f" limits.{name} = {most}, which holds for everybody"
                    )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keep construction free of surprises: only what the caller passed counts."""
        return (init_settings,)


def variable(key: str) -> str:
    """The environment variable of a dotted key: `listen.port` is LEGATO_LISTEN__PORT."""
    return PREFIX + key.replace(".", "__").upper()
