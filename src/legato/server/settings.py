"""What an operator may set, from where, and what is said when it is wrong; must not know who reads a setting.

One frozen model, `ServerSettings`, made of groups. `ServerSettings(...)` validates what it is given and reads
nothing; `load_settings` gathers from the four sources, the strongest first:

    command-line flags  >  environment (LEGATO_GROUP__KEY)  >  TOML file  >  the defaults below

A mistake in any of them is one `SettingsError` with one sentence: the key, the value, where it came from and
what would be accepted. Secrets are `SecretStr`: they print as asterisks everywhere, this file included.
"""

import difflib
import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from legato.agents.settings import AssistantSettings
from legato.core.errors import SettingsError
from legato.server.auth_settings import AuthSettings
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
    "auth.required": "--no-auth",
    "log.level": "--log-level",
    "log.format": "--log-format",
    "drain_seconds": "--drain-seconds",
}
"""The settings that `legato serve` also takes on the command line."""


class Group(BaseModel):
    """Settings of one subject: frozen, keyword-only, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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
        default=120, ge=1, description="Audio that may arrive at any speed before `audio_rate` counts."
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


class Log(Group):
    """What is written about the server's work, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity written."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`console` for people, `json` for machines; `auto` looks at the terminal."
    )


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
    listen: Listen = Listen()
    tls: Tls = Tls()
    auth: AuthSettings = AuthSettings()
    assistant: AssistantSettings = AssistantSettings.model_validate({})
    limits: Limits = Limits()
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


Layer = tuple[Literal["flags", "environment", "file"], dict[str, Any]]
"""What one source says, nested like the model."""


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> ServerSettings:
    """Gather the settings from `flags` (by dotted key, None meaning not given), the environment and `config`.

    Without `config` the TOML file named by LEGATO_CONFIG is read, if that is set. Raises `SettingsError`.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    layers: list[Layer] = [("flags", _nested(flags or {})), ("environment", _environment())]
    if path is not None:
        layers.append(("file", _toml(path)))
    merged: dict[str, Any] = {}
    for _, layer in reversed(layers):
        merged = _merge(merged, layer)
    try:
        return ServerSettings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors()[0], layers, path)) from None


def variable(key: str) -> str:
    """The environment variable of a dotted key: `listen.port` is LEGATO_LISTEN__PORT."""
    return PREFIX + key.replace(".", "__").upper()


def _nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            for part in reversed(key.split(".")):
                value = {part: value}
            nested = _merge(nested, value)
    return nested


def _environment() -> dict[str, Any]:
    for name in os.environ:
        group = name.removeprefix(PREFIX).partition("__")[0].lower()
        if name.startswith(PREFIX) and "__" in name and group not in ServerSettings.model_fields:
            meant = _did_you_mean(group.upper(), [key.upper() for key in ServerSettings.model_fields], PREFIX)
            raise SettingsError(f"environment variable {name} names no group of settings{meant}")
    try:
        return EnvSettingsSource(ServerSettings)()
    except UnreadableVariable as error:
        raise SettingsError(f"a variable that sets a whole group must hold JSON: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {path} is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}") from None


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _sentence(error: ErrorDetails, layers: list[Layer], file: Path | None) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    source = _source(path, layers, file)
    if error["type"] == "extra_forbidden":
        model = _model_at(path[:-1])
        known = list(model.model_fields) if model else []
        prefix = key[: -len(path[-1])]
        return f"unknown setting {key} ({source}){_did_you_mean(path[-1], known, prefix)}"
    if error["type"] == "value_error":
        sentence = str(error["ctx"]["error"])
        return f"{sentence} ({source})" if key in sentence else f"{key}: {sentence} ({source})"
    if error["type"] == "model_type":
        return f"{key} ({source}) is a group of settings: set its keys one by one"
    wish = error["msg"].replace("Input should be", "it must be", 1)
    value = "the given value (hidden)" if _is_secret(path) else repr(error["input"])
    return f"{key} = {value} ({source}) cannot be used: {wish[0].lower()}{wish[1:]}"


def _source(path: list[str], layers: list[Layer], file: Path | None) -> str:
    key = ".".join(path)
    for name, layer in layers:
        if _contains(layer, path):
            known = {"flags": FLAGS.get(key, "a flag"), "environment": variable(key), "file": f"in {file}"}
            return known[name]
    return "default"


def _contains(layer: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(layer, dict) or part not in layer:
            return False
        layer = layer[part]
    return True


def _did_you_mean(word: str, known: list[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f"; known are {', '.join(f'{prefix}{name}' for name in sorted(known))}" if known else ""


def _model_at(path: list[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = ServerSettings
    for part in path:
        field = model.model_fields.get(part)
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            return None
        model = field.annotation
    return model


def _is_secret(path: list[str]) -> bool:
    model = _model_at(path[:-1])
    field = model.model_fields.get(path[-1]) if model and path else None
    if field is None:
        return False
    return field.annotation is SecretStr or SecretStr in typing.get_args(field.annotation)
