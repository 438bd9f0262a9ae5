"""What must be known to continue a call over a new connection, as values; must not know how it is carried."""

import msgspec


class ReplyPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far one reply got: samples `transferred` (sent by a server, received by a client) and `played`."""

    generation: int
    item_id: str
    content_index: int
    transferred: int
    played: int
    complete: bool


class ResumeState(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of both directions.

    `uplink_offset` is the next captured sample a server needs, or the oldest one a client can still send;
    `generation` is the last one begun (server) or seen (client), `flushed` the last one flushed, and
    `replies` are those that may still have to be sent or played.
    """

    uplink_offset: int
    generation: int
    flushed: int
    replies: tuple[ReplyPosition, ...]
