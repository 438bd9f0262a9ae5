"""What a caller may choose about a call; validated on construction. Must not know where values come from."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from legato.core.audio import AudioFormat
from legato.core.errors import SettingsError

__all__ = ["ClientSettings", "ProfileChoice", "TransportChoice", "default_input", "default_output"]

TransportChoice: TypeAlias = Literal["auto", "webtransport", "websocket"]
ProfileChoice: TypeAlias = Literal["auto", "turn", "duplex"]


LONGEST_RESUME_S = 3600
"""Audio is not kept for longer than five minutes in any case."""


MOST_ALTERNATIVES = 8


def _codec() -> Literal["opus", "pcm16"]:
    return "opus" if importlib.util.find_spec("av") else "pcm16"


def default_input() -> AudioFormat:
    """Return Opus at 16 kHz where the codec is installed (extra `opus`), else plain samples."""
    return AudioFormat(_codec(), 16_000)


def default_output() -> tuple[AudioFormat, ...]:
    """Return the formats that this installation can play, best first."""
    plain = AudioFormat("pcm16", 24_000)
    return (AudioFormat("opus", 24_000), plain) if _codec() == "opus" else (plain,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How to call.

    `certificate_hashes` are SHA-256 digests of the server's certificate: when given, nothing else is trusted.
    `transport` is what carries the call: WebTransport over QUIC, a WebSocket for where UDP is blocked, or
    ("auto") whichever is there first, with a head start for WebTransport.
    `lead_ms` is how far a reply may run ahead of its playback. `start_ms` is how much of a reply must be here
    before it starts. `group_ms` is how much captured audio shares a stream. `token` is the API key or client
    secret to show; without one, servers on this machine are shown the development key of this user.
    `resume_s` is how long a lost connection is replaced before the call is given up, 0 for not at all.
    `alternatives` are the addresses of other servers of the same fleet, where a call goes on when its server
    is gone.

    `profile` says what matters more: every word (`turn`), or that nothing comes late (`duplex`, for models
    that listen while they speak); `auto` leaves it to the server. In `duplex`, audio that is more than
    `late_ms` late is left out both ways: the agent is told of a gap of exactly its length, and a reply that
    ran dry for longer skips as much (`PlaybackChanged.skipped`). Raises `SettingsError`.
    """

    input: AudioFormat = field(default_factory=default_input)
    output: tuple[AudioFormat, ...] = field(default_factory=default_output)
    transport: TransportChoice = "auto"
    profile: ProfileChoice = "auto"
    late_ms: int | None = None
    lead_ms: int = 30_000
    start_ms: int = 40
    group_ms: int = 10_000
    connect_timeout_s: float = 10.0
    resume_s: float = 60.0
    alternatives: tuple[str, ...] = ()
    keep_alive_ms: int = 10_000
    max_idle_ms: int = 30_000
    initial_rtt_ms: int = 100
    certificate_hashes: tuple[bytes, ...] = ()
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if not self.output:
            raise SettingsError("output needs at least one format that can be played")
        if len({form.rate for form in self.output}) != 1:
            raise SettingsError("all output formats need the same sample rate: the player has one")
        if len(self.alternatives) > MOST_ALTERNATIVES:
            raise SettingsError(f"more than {MOST_ALTERNATIVES} alternatives: put a balancer before them")
        if self.transport not in get_args(TransportChoice):
            choices = ", ".join(get_args(TransportChoice))
            raise SettingsError(f"transport must be one of {choices}, not {self.transport!r}")
        if self.profile not in get_args(ProfileChoice):
            choices = ", ".join(get_args(ProfileChoice))
            raise SettingsError(f"profile must be one of {choices}, not {self.profile!r}")
        if self.late_ms is not None and self.late_ms < 1:
            raise SettingsError(f"late_ms must be at least 1, not {self.late_ms}")
        if any(len(digest) != 32 for digest in self.certificate_hashes):
            raise SettingsError("a certificate hash is a SHA-256 digest of 32 bytes")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise SettingsError("token must be an API key or a client secret: ASCII, not empty, on one line")
        if not self.connect_timeout_s > 0:
            raise SettingsError(f"connect_timeout_s must be above 0, not {self.connect_timeout_s}")
        if not 0 <= self.resume_s <= LONGEST_RESUME_S:
            raise SettingsError(f"resume_s must be 0 to {LONGEST_RESUME_S}, not {self.resume_s}")
