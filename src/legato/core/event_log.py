"""Counted events: what makes them arrive once and in order over any number of connections.

Owns the events said and not acknowledged, and the count of those taken. Must not know connections or what an
event means. Rules: wire/SPEC.md, "Resume".
"""

from collections import deque

from legato.core.errors import RemoteProtocolError
from legato.core.wire.codes import (
    EVENT_ACK_BYTES,
    EVENT_ACK_EVENTS,
    KEPT_EVENT_BYTES,
    OVERHEAD_BYTES,
    SessionCode,
)


class EventLog:
    """Both directions of one call.

    What is said is kept until the peer has acknowledged it, `KEPT_EVENT_BYTES` of it at most: beyond that
    the oldest goes, and `after` cannot answer for it any more. What only the latest acknowledgement covers is
    kept, too: it may have overtaken a hello that was said before it and asks for these events.
    """

    def __init__(self) -> None:
        self.keeps = True
        """Whether what is said is kept: without a resume there is no use in that."""
        self.said = 0
        self.acked = 0
        self.taken = 0
        self._sure = 0
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self._needed: int | None = None
        self._told = 0
        self._untold_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Memory held, overhead included."""
        return self._bytes

    def say(self, payload: bytes) -> None:
        """Count an event said, whether or not there is a connection to say it on."""
        self.said += 1
        if not self.keeps:
            return
        self._kept.append(payload)
        self._bytes += OVERHEAD_BYTES + len(payload)
        while self._bytes > KEPT_EVENT_BYTES:
            self._drop()

    def keep_nothing(self) -> None:
        """This call cannot be resumed."""
        self.keeps = False
        self._kept.clear()
        self._bytes = 0

    @property
    def oldest(self) -> int:
        """How many events were said before the first that is kept."""
        return self.said - len(self._kept)

    def needed_from(self, count: int) -> None:
        """Keep what was said behind the first `count` events, acknowledged or not: another peer may want it.
        Raises RemoteProtocolError if fewer were said."""
        self._check(count)
        self._needed = count
        self._let_go()

    def begin_at(self, said: int, taken: int) -> None:
        """Go on counting where another log has come to, of which nothing else is known."""
        self.said = self.acked = self._sure = said
        self.taken = self._told = taken

    def acknowledge(self, count: int) -> None:
        """The peer has taken so many events; raises RemoteProtocolError if that are more than were said."""
        self._check(count)
        if count > self.acked:
            self._sure, self.acked = self.acked, count
        self._let_go()

    def _check(self, count: int) -> None:
        if count > self.said:
            raise RemoteProtocolError(
                SessionCode.PROTOCOL_VIOLATION, f"acknowledged {count} events of {self.said} said"
            )

    def _let_go(self) -> None:
        done = self._sure if self._needed is None else min(self.acked, self._needed)
        while self._kept and self.oldest < done:
            self._drop()

    def has_all_after(self, count: int) -> bool:
        """Whether a peer that has taken `count` events can be given every later one."""
        return self.oldest <= count <= self.said

    def after(self, count: int) -> list[bytes]:
        """The events behind the first `count`, which are acknowledged by that."""
        self._check(count)
        self.acked, self._sure = max(self.acked, count), max(self._sure, count)
        self._let_go()
        return list(self._kept)[max(0, count - self.oldest) :]

    def take(self, size: int) -> bool:
        """Count an event of the peer; returns whether it is time to acknowledge."""
        self.taken += 1
        self._untold_bytes += size
        return self.taken - self._told >= EVENT_ACK_EVENTS or self._untold_bytes >= EVENT_ACK_BYTES

    def tell(self) -> int:
        """The number to acknowledge now."""
        self._told = self.taken
        self._untold_bytes = 0
        return self.taken

    def _drop(self) -> None:
        self._bytes -= OVERHEAD_BYTES + len(self._kept.popleft())
