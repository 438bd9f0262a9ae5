"""What a session reports to its owner; must not know how a report comes about.

Plain frozen values, drained with `events()` in the order in which they happened. `type(event)` decides; all
positions are samples, all times microseconds.
"""

import msgspec

from legato.core.audio import AudioFrame, AudioGap
from legato.core.errors import Party
from legato.core.wire.messages import Hello, JsonObject, PlaybackState, ReplyHeader, Welcome


class HelloReceived(msgspec.Struct, frozen=True):
    """Server: a client introduced itself with a known version and formats; answer `accept` or `refuse`."""

    hello: Hello


class Welcomed(msgspec.Struct, frozen=True):
    """Client: the server takes the call on these terms, or goes on with one; `lost` captured samples can
    never be sent any more."""

    welcome: Welcome
    lost: int = 0


class AudioReceived(msgspec.Struct, frozen=True, gc=False):
    """Server: the next captured audio, in order, each sample once. Call `consumed` when it was taken."""

    frame: AudioFrame


class GapReported(msgspec.Struct, frozen=True, gc=False):
    """Server: these captured samples will never come; the next `AudioReceived` starts behind them."""

    gap: AudioGap


class EventReceived(msgspec.Struct, frozen=True):
    """Both: an event of the dialect, or one this version does not know, whole."""

    event: JsonObject


class PlaybackReported(msgspec.Struct, frozen=True, gc=False):
    """Server: the client's player reported; figures are already clamped to what was sent."""

    item_id: str
    content_index: int
    generation: int
    played: int
    buffered: int
    underruns: int
    state: PlaybackState


class ReplyCancelled(msgspec.Struct, frozen=True, gc=False):
    """Server: the client does not want the rest of this reply (STOP_SENDING with `code`)."""

    generation: int
    code: int


class ReplyStarted(msgspec.Struct, frozen=True, gc=False):
    """Client: a reply begins. Replies are to be played in the order of their generations."""

    header: ReplyHeader


class ReplyAudio(msgspec.Struct, frozen=True, gc=False):
    """Client: the next audio of a reply; an `offset` beyond the last end means that samples are lost."""

    generation: int
    item_id: str
    offset: int
    payload: bytes


class ReplyEnded(msgspec.Struct, frozen=True, gc=False):
    """Client: no more audio of this reply; `complete` is False if the server broke it off unflushed."""

    generation: int
    item_id: str
    samples: int
    complete: bool = True


class Flushed(msgspec.Struct, frozen=True, gc=False):
    """Client: drop at once what is buffered of the generations `first` to `generation`, report `stopped`."""

    generation: int
    first: int = 1


class HeartbeatReturned(msgspec.Struct, frozen=True, gc=False):
    """Both: the peer echoed the heartbeat with this sequence number."""

    sequence: int


class Draining(msgspec.Struct, frozen=True, gc=False):
    """Both: the session will be ended in `in_ms`."""

    in_ms: int


class ConnectionLost(msgspec.Struct, frozen=True, gc=False):
    """Both: the call goes on without a connection, until another session continues it or patience ends."""

    by: Party
    code: int
    reason: str


class SessionEnded(msgspec.Struct, frozen=True, gc=False):
    """Both: the session is over; always the last event and reported exactly once."""

    by: Party
    code: int
    reason: str


Event = (
    HelloReceived
    | Welcomed
    | AudioReceived
    | GapReported
    | EventReceived
    | PlaybackReported
    | ReplyCancelled
    | ReplyStarted
    | ReplyAudio
    | ReplyEnded
    | Flushed
    | HeartbeatReturned
    | Draining
    | ConnectionLost
    | SessionEnded
)
