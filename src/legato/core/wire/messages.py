"""The `legato.*` control events as typed values.

Owns field names, ranges and defaults of wire/SPEC.md, "Events"; must not know when a message is allowed.
Events of the dialect (OpenAI Realtime names) and unknown ones stay dictionaries, kept whole.
"""

from typing import Annotated, Any, Literal

import msgspec

from legato.core.audio import AudioFormat
from legato.core.wire.codes import POSITION_MAX, WIRE_VERSION

Position = Annotated[int, msgspec.Meta(ge=0, le=POSITION_MAX)]
"""Samples since the start of a call or reply, or microseconds."""
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
"""Milliseconds, indexes, counters."""
Generation = Annotated[int, msgspec.Meta(ge=1, le=POSITION_MAX)]
"""Number of a reply, counted from 1 within a call."""
Size = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]

Profile = Literal["turn", "duplex"]
PlaybackState = Literal["playing", "paused", "stopped", "done"]
JsonObject = dict[str, Any]
"""One event as it stands on the wire: a JSON object with at least "type"."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a session accepts (wire/SPEC.md, "Limits"); the server tells them in its welcome.

    `window_ms` and `window_bytes` bound audio that is sent and not yet acknowledged, and so what may wait
    out of order; `unread_ms` and `unread_bytes` bound audio the agent has not taken yet; more than
    `audio_rate` times real time after a burst of `audio_burst_ms` ends the session; `uplink_streams` bounds
    the audio streams open at once; `hello_ms` is the patience with a silent peer.
    """

    control_record_bytes: Size = 1 << 20
    audio_record_bytes: Size = 1 << 16
    window_ms: Size = 30_000
    window_bytes: Size = 4 << 20
    unread_ms: Size = 30_000
    unread_bytes: Size = 4 << 20
    audio_rate: Size = 4
    audio_burst_ms: Size = 120_000
    uplink_streams: Size = 64
    hello_ms: Size = 5_000


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a client can do beyond the mandatory part."""

    playback_reports: bool = False
    local_vad: bool = False
    resume: bool = False
    checkpoints: bool = False

    @property
    def resumes(self) -> bool:
        """Whether a ticket is of use: without reports nobody knows what was heard."""
        return self.resume and self.playback_reports

    @property
    def carries(self) -> bool:
        """Whether the client can bring a call to another server."""
        return self.checkpoints and self.resumes


class ReceivedReply(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one reply a resuming client holds: samples `received` and `played`, whether that is all
    there is, and what its player does with it."""

    generation: Position
    item_id: str
    content_index: Count = 0
    received: Position = 0
    played: Position = 0
    complete: bool = False
    state: PlaybackState = "playing"


class ResumeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client carries into a resumed call.

    `ticket` is opaque and came with an earlier welcome; `uplink_offset` is the oldest captured sample the
    client can still send; `downlink` says what it has of each reply that it remembers; `events` is how many
    counted events it has taken; `checkpoint` is the latest it was given, for a server that has not the call.
    """

    ticket: str
    uplink_offset: Position = 0
    downlink: tuple[ReceivedReply, ...] = ()
    events: Position = 0
    checkpoint: str | None = None


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="legato.hello"):
    """First event of a client: the version it speaks, the audio it sends, the audio it can play.

    `output` lists formats by preference; `lead_ms` is how much unplayed audio it wants to hold (null: the
    server decides). `late_ms` is how late audio may be and still of use, in profile `duplex` (null likewise).
    """

    input: AudioFormat
    output: tuple[AudioFormat, ...]
    version: int = WIRE_VERSION
    dialect: str = "realtime"
    profile: Literal["auto", "turn", "duplex"] = "auto"
    late_ms: Size | None = None
    lead_ms: Count | None = None
    token: str | None = None
    resume: ResumeRequest | None = None
    capabilities: Capabilities = Capabilities()
    client: str = ""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="legato.welcome"):
    """Answer of a server that takes the call.

    `lead_ms` is how far replies run ahead of playback; `uplink_offset` is the first sample it wants;
    `resume_ticket` may be null (no resume) and is good for `resume_ttl_ms` after the connection is lost;
    `events` is how many counted events of a resumed call the server has taken; `rebuilt` says that another
    server had the call before, and that this one may want audio again which that one acknowledged; `late_ms`
    is how late audio may be and still of use, in profile `duplex`.
    """

    session_id: str
    input: AudioFormat
    output: AudioFormat
    profile: Profile
    lead_ms: Size
    server_time_us: int
    limits: Limits
    resume_ticket: str | None = None
    resume_ttl_ms: Count = 0
    resumed: bool = False
    uplink_offset: Position = 0
    events: Position = 0
    rebuilt: bool = False
    late_ms: Size | None = None

    @property
    def late_us(self) -> int | None:
        """How old audio may be and still of use; None: it is of use for ever."""
        return None if self.profile == "turn" or self.late_ms is None else self.late_ms * 1_000


class AudioAck(msgspec.Struct, frozen=True, tag="legato.audio_ack"):
    """All captured samples before `offset` were handed to the agent, or were declared lost."""

    offset: Position


class EventAck(msgspec.Struct, frozen=True, tag="legato.event_ack"):
    """The first `count` counted events of the other side were taken."""

    count: Position


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag="legato.checkpoint"):
    """The call as it stands, sealed in `state` for another server to go on from, and what a client keeps for
    that: captured samples from `uplink_offset` on, its own counted events behind the first `events`."""

    state: str
    uplink_offset: Position
    events: Position


class AudioLost(msgspec.Struct, frozen=True, tag="legato.audio_gap"):
    """The client will never send the samples `start` ("from") up to but excluding `stop` ("to")."""

    start: Position = msgspec.field(name="from")
    stop: Position = msgspec.field(name="to")


class Playback(msgspec.Struct, frozen=True, kw_only=True, tag="legato.playback"):
    """What the client's player did with one reply: samples `played` and `buffered`, times it ran dry."""

    item_id: str
    generation: Position
    played: Position
    state: PlaybackState
    buffered: Position = 0
    underruns: Count = 0
    content_index: Count = 0


class Flush(msgspec.Struct, frozen=True, tag="legato.flush"):
    """Nothing of the generations `first` to `generation` may be played any more."""

    generation: Generation
    first: Generation = 1


class GoingAway(msgspec.Struct, frozen=True, tag="legato.going_away"):
    """The server ends the session in `in_ms`; finish or move before that."""

    in_ms: Count


class Bye(msgspec.Struct, frozen=True, tag="legato.bye"):
    """The client hangs up."""


class ReplyHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Header of a downlink stream: which part of which reply follows, in which format."""

    response_id: str
    item_id: str
    content_index: Count
    generation: Generation
    format: AudioFormat


ClientMessage = Hello | AudioLost | EventAck | Playback | Bye
ServerMessage = Welcome | AudioAck | EventAck | Checkpoint | Flush | GoingAway
