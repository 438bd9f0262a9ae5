"""Who may call, as an operator writes it down; must not know tokens, calls or where settings come from.

An API key is 256 random bits that `legato api-key new` makes. Nobody guesses that many, so one round of
SHA-256 hides it as well as a slow password hash would, and costs microseconds instead of a tenth of a second
for each call.
"""

import difflib
import hashlib
from collections.abc import Iterable
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from legato._settings import Group
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS

__all__ = ["ApiKey", "AuthSettings", "LimitsOfKey", "hash_of_key", "unknown_event"]

MIN_SECRET_CHARS = 32
"""A shorter signing secret could be guessed from one client secret."""

_HASH_PREFIX = "sha256:"


def hash_of_key(key: str) -> str:
    """How the settings name a key without holding it."""
    return _HASH_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def unknown_event(names: Iterable[str]) -> str | None:
    """What is wrong with the first of `names` that is no client event; None if all are."""
    for name in names:
        if name not in CLIENT_EVENTS:
            close = difflib.get_close_matches(name, CLIENT_EVENTS, n=1)
            known = f"did you mean {close[0]}?" if close else f"known are {', '.join(CLIENT_EVENTS)}"
            return f"{name[:64]!r} is no client event; {known}"
    return None


class LimitsOfKey(Group):
    """What the callers of one key may cost; none may exceed the server's limit of that name."""

    calls: int | None = Field(default=None, ge=1, description="Calls at once with this key.")
    audio_rate: int | None = Field(
        default=None, ge=1, description="Sustained speed of incoming audio, in multiples of real time."
    )
    event_bytes: int | None = Field(default=None, ge=1024, description="Largest event of a caller.")
    session_seconds: float | None = Field(default=None, gt=0, description="Longest call in seconds.")


class ApiKey(Group):
    """One API key: who it belongs to and what it allows."""

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Whose key it is; the log and the limits use it.",
    )
    hash: str = Field(description="`sha256:` and the SHA-256 of the key, as `legato api-key new` prints it.")
    permissions: tuple[str, ...] | None = Field(
        default=None, description="Client events that are allowed; without a list, all are."
    )
    limits: LimitsOfKey = LimitsOfKey()

    @field_validator("hash")
    @classmethod
    def _is_hash(cls, value: str) -> str:
        digits = value.removeprefix(_HASH_PREFIX)
        if digits == value or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            # The value is not repeated: it may be a key that was pasted here.
            raise ValueError("a hash is sha256: and 64 hexadecimal digits, as `legato api-key new` prints it")
        return value

    @field_validator("permissions")
    @classmethod
    def _are_events(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        mistake = unknown_event(value or ())
        if mistake is not None:
            raise ValueError(mistake)
        return value


class AuthSettings(Group):
    """Who may call. Without `keys` the server makes one for this user, in the state directory."""

    required: bool = Field(
        default=True,
        description="Whether callers need a key; without, the server listens on loopback addresses only.",
    )
    keys: tuple[ApiKey, ...] = Field(
        default=(), description="The API keys; each is a table `[[auth.keys]]` of its own."
    )
    secrets: tuple[SecretStr, ...] = Field(
        default=(),
        description="Secrets that sign ephemeral client secrets: the first signs, all verify, so a new one is"
        " put first and the old one stays for two hours. Servers of one fleet need the same. Without one,"
        " client secrets end with the process.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [key.name for key in self.keys]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"auth.keys names {twice} twice: every key needs a name of its own")
        if len({key.hash for key in self.keys}) != len(names):
            raise ValueError("auth.keys holds one key under two names")
        if any(len(secret.get_secret_value()) < MIN_SECRET_CHARS for secret in self.secrets):
            raise ValueError(f"auth.secrets needs at least {MIN_SECRET_CHARS} random characters each")
        return self
