"""A reply as the server that sends it knows it, and as the client that has it reports it.

Owns these two forms. Must not know streams' bytes or the order of replies: that is `downlink_sender.py`.
"""

from collections import deque

from legato.core.audio import AudioFormat
from legato.core.playout import ReplyProgress
from legato.core.wire.messages import Playback, ReceivedReply


class SentReply:
    """A reply that is being sent, or may have to be sent again. `kept` are (start, stop, payload)."""

    __slots__ = ("format", "kept", "key", "preface", "progress", "sample_bytes")

    def __init__(self, key: int, progress: ReplyProgress, form: AudioFormat, preface: bytes) -> None:
        self.key = key
        self.progress = progress
        self.format = form
        self.sample_bytes = form.bytes_per_sample
        self.preface = preface
        self.kept: deque[tuple[int, int, bytes]] = deque()


def report_of(reply: ReceivedReply) -> Playback:
    """What a hello says of a reply, as a report of the player."""
    return Playback(
        item_id=reply.item_id,
        content_index=reply.content_index,
        generation=reply.generation,
        played=reply.played,
        buffered=max(0, reply.received - reply.played),
        state=reply.state,
    )
