"""The secrets that servers and balancers of a fleet share: one file, in generations, turned in three steps.

Owns the file's format, its rotation, and what is derived from it. It must not know who uses the keys.

Each generation is one secret of 32 octets, and everything else is derived from it (HMAC-SHA256 over the
purpose), so that a file is whole or wrong, and never half of each. A rotation is three versions of the file,
and everybody has to have one before the next one goes out:

    step       stages of the generations     servers issue under     everybody accepts
    announce   3 current, 4 next             3                       3 and 4
    switch     4 current, 3 previous         4                       3 and 4
    drop       4 current                     4                       4

The codepoint in connection IDs is the generation modulo 7: neighbours never share one.
"""

import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from legato._native import EncapsulationKeys, QuicLbConfig
from legato.core.errors import SettingsError

__all__ = ["FleetKeys", "Generation", "Stage"]

Stage = Literal["next", "current", "previous"]

SERVER_ID_OCTETS = 8
NONCE_OCTETS = 8
SECRET_OCTETS = 32

_FORMAT = 1
_MOST_BYTES = 1 << 16
_CODEPOINTS = 7
_TOO_OPEN = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
_LEGAL: tuple[tuple[Stage, ...], ...] = (("current",), ("current", "next"), ("current", "previous"))


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    generation: int
    stage: Stage
    secret: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    keys: list[_Entry]


@dataclass(frozen=True, repr=False)
class Generation:
    """One secret, and the keys that are derived from it."""

    number: int
    stage: Stage
    secret: bytes

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Generation({self.number}, {self.stage!r}, {self.fingerprint})"

    def key(self, purpose: str, octets: int = 32) -> bytes:
        """The key for one purpose."""
        return hmac.digest(self.secret, f"legato fleet, {purpose}".encode(), hashlib.sha256)[:octets]

    @property
    def codepoint(self) -> int:
        """The config ID of connection IDs that are issued under it."""
        return self.number % _CODEPOINTS

    @property
    def quic_lb_key(self) -> bytes:
        """The key of its connection IDs; other implementations of QUIC-LB need it."""
        return self.key("connection ids", 16)

    @cached_property
    def quic_lb(self) -> QuicLbConfig:
        """How its connection IDs are made: single-pass, 8 octets of server ID and 8 of nonce."""
        return QuicLbConfig(self.codepoint, SERVER_ID_OCTETS, NONCE_OCTETS, self.quic_lb_key)

    @property
    def fingerprint(self) -> str:
        """Tells secrets apart without telling them."""
        return self.key("fingerprint", 6).hex()


@dataclass(frozen=True)
class FleetKeys:
    """A version of the file. The generation in use comes first, then the other one that is accepted."""

    generations: tuple[Generation, ...]

    @classmethod
    def new(cls) -> "FleetKeys":
        """The first secret of a fleet."""
        return cls((_fresh(1, "current"),))

    @classmethod
    def load(cls, path: Path) -> "FleetKeys":
        """Read a file. Raises `SettingsError` with one sentence for the operator."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                facts = os.fstat(file.fileno())
                data = file.read(_MOST_BYTES + 1) if stat.S_ISREG(facts.st_mode) else b""
        except OSError as error:
            hint = f"; make one with `legato keys new {path}`" if isinstance(error, FileNotFoundError) else ""
            raise SettingsError(f"cannot read the fleet's keys in {path}: {error.strerror}{hint}") from None
        if not stat.S_ISREG(facts.st_mode):
            raise SettingsError(f"{path} is no file with a fleet's keys")
        if facts.st_mode & _TOO_OPEN:
            raise SettingsError(
                f"{path} holds the fleet's secrets, and others can read or change it: chmod 600 {path}"
            )
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> "FleetKeys":
        """Read the content of a file called `name`. Raises `SettingsError`."""
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.DecodeError as error:
            raise SettingsError(
                f"{name} is no file with a fleet's keys, or only a part of one: {error}"
            ) from None
        if file.format != _FORMAT:
            raise SettingsError(f"{name} has format {file.format}; this version of legato reads {_FORMAT}")
        # In the order of the alphabet, the current one comes first.
        entries = sorted(file.keys, key=lambda entry: entry.stage)
        if tuple(entry.stage for entry in entries) not in _LEGAL:
            stages = ", ".join(entry.stage for entry in entries) or "none"
            raise SettingsError(
                f"{name} is half rotated: it needs one current generation and at most one that is next or"
                f" previous, but has {stages}; distribute a whole file again"
            )
        generations = tuple(_generation(entry, name) for entry in entries)
        _check_neighbours(generations, name)
        return cls(generations)

    def dump(self) -> bytes:
        """The content of the file."""
        keys = [_Entry(each.number, each.stage, each.secret.hex()) for each in self.generations]
        return msgspec.json.format(msgspec.json.encode(_File(_FORMAT, keys)), indent=2) + b"\n"

    def rotated(self) -> "FleetKeys":
        """The next version: announce, switch or drop, whichever is due."""
        first, *others = self.generations
        if not others:
            return FleetKeys((first, _fresh(first.number + 1, "next")))
        [other] = others
        if other.stage == "next":
            return FleetKeys(
                (
                    Generation(other.number, "current", other.secret),
                    Generation(first.number, "previous", first.secret),
                )
            )
        return FleetKeys((first,))

    def check_successor(self, newer: "FleetKeys") -> str | None:
        """Judge a newer version of the file while calls go on.

        Returns a sentence if it can follow, but a step was left out. Raises `SettingsError` if it cannot.
        """
        known = {each.number: each.secret for each in self.generations}
        for each in newer.generations:
            if known.get(each.number, each.secret) != each.secret:
                raise SettingsError(
                    f"generation {each.number} has another secret than before: the file is another fleet's,"
                    " and the former keys stay in use"
                )
        if newer.current.number not in known:
            if newer.current.codepoint in {each.codepoint for each in self.generations}:
                raise SettingsError(
                    f"generation {newer.current.number} came too early: generation {self.current.number} uses"
                    " the same codepoint, and the former keys stay in use"
                )
            return (
                f"generation {newer.current.number} is in use without having been announced: balancers that"
                " do not have this file yet cannot route its connections"
            )
        return None

    @property
    def current(self) -> Generation:
        """The generation in use."""
        return self.generations[0]

    @property
    def generation(self) -> int:
        """The number of the generation in use."""
        return self.current.number

    @property
    def quic_lb(self) -> list[QuicLbConfig]:
        """The configurations of connection IDs, the one in use first."""
        return [each.quic_lb for each in self.generations]

    @property
    def encapsulation(self) -> EncapsulationKeys:
        """What authenticates packets between balancers and servers."""
        return EncapsulationKeys(*(each.key("encapsulation", 16) for each in self.generations))

    @property
    def hash_key(self) -> bytes:
        """What spreads new connections over servers."""
        return self.current.key("new connections", 16)

    @property
    def fingerprint(self) -> str:
        """The same wherever the same version of the file is."""
        whole = "\n".join(f"{each.number} {each.stage} {each.fingerprint}" for each in self.generations)
        return hashlib.sha256(whole.encode()).hexdigest()[:12]


def _fresh(number: int, stage: Stage) -> Generation:
    return Generation(number, stage, secrets.token_bytes(SECRET_OCTETS))


def _generation(entry: _Entry, name: str) -> Generation:
    try:
        secret = bytes.fromhex(entry.secret)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_OCTETS or entry.generation < 1:
        raise SettingsError(
            f"{name}: generation {entry.generation} needs a number from 1 and {2 * SECRET_OCTETS} hexadecimal"
            " digits; distribute the whole file again"
        )
    return Generation(entry.generation, entry.stage, secret)


def _check_neighbours(generations: tuple[Generation, ...], name: str) -> None:
    """A next generation is one more than the current one, a previous one is one less; secrets differ."""
    first, *others = generations
    for other in others:
        step = 1 if other.stage == "next" else -1
        if other.number != first.number + step or other.secret == first.secret:
            raise SettingsError(
                f"{name} is half rotated: generation {other.number} cannot be {other.stage} to generation"
                f" {first.number}; distribute a whole file again"
            )
