"""The playback ledger: of each reply, what was sent and what the person has heard.

Owns the figures and their plausibility. The client's player is the only authority on what was played, yet
never trusted beyond what was sent: impossible figures are clamped and counted as violations. Must not know
streams, JSON or text. All figures are samples of the reply's own rate unless they say otherwise.
"""

from legato.core.state import ReplyCause, ReplyState, reply_after
from legato.core.wire.messages import Playback, PlaybackState

_REMEMBERED = 64
_FINAL = ("stopped", "done")


class ReplyProgress:
    """One reply's line in the ledger."""

    __slots__ = (
        "buffered", "content_index", "generation", "item_id", "playback", "played", "rate", "sent",
        "started_us", "state", "underruns",
    )  # fmt: skip

    def __init__(self, generation: int, item_id: str, content_index: int, rate: int) -> None:
        self.generation = generation
        self.item_id = item_id
        self.content_index = content_index
        self.rate = rate
        self.state = ReplyState.OPEN
        self.sent = 0
        self.started_us: int | None = None
        self.played = 0
        self.buffered = 0
        self.underruns = 0
        self.playback: PlaybackState | None = None

    def move(self, cause: ReplyCause) -> bool:
        """Change state if the cause is not too late; returns whether it was in time."""
        after = reply_after(self.state, cause)
        if after is None:
            return False
        self.state = after
        return True

    @property
    def audible(self) -> bool:
        """Whether more of this reply may still be played."""
        return self.state is ReplyState.OPEN or self.state is ReplyState.SENT


class PlayoutLedger:
    """All replies of a call that are not history, oldest first.

    With `reports` the client's player tells what it played; without, playing is assumed to start when the
    first sample is sent and the reply before it has ended, and to run at real time without a pause.
    """

    __slots__ = ("_free_from_us", "_replies", "_reports", "last_violation", "violations")

    def __init__(self, reports: bool) -> None:
        self.violations = 0
        self.last_violation = ""
        self._reports = reports
        self._replies: dict[int, ReplyProgress] = {}
        self._free_from_us = 0

    @property
    def reports(self) -> bool:
        """Whether the client's player tells what it played; without that, `heard` is an assumption."""
        return self._reports

    def begin(self, generation: int, item_id: str, content_index: int, rate: int) -> ReplyProgress:
        """Open a line; the oldest one that takes no audio is dropped when there are too many."""
        progress = ReplyProgress(generation, item_id, content_index, rate)
        self._replies[generation] = progress
        if len(self._replies) > _REMEMBERED:
            closed = (one for one, line in self._replies.items() if line.state is not ReplyState.OPEN)
            oldest = next(closed, None)
            if oldest is not None:
                del self._replies[oldest]
        return progress

    def first_sent(self, progress: ReplyProgress, now: int) -> None:
        """Note when the first audio of a reply was sent."""
        for other in self._replies.values():
            if other is not progress and other.audible and other.started_us is not None:
                self._free_from_us = max(self._free_from_us, _sounds_until(other))
        progress.started_us = max(now, self._free_from_us)

    def get(self, generation: int) -> ReplyProgress | None:
        """The line of that generation, or None if it is unknown or history."""
        return self._replies.get(generation)

    def flush(self, first: int, last: int, now: int) -> None:
        """Nothing of these generations will be played any more."""
        for progress in self._replies.values():
            if first <= progress.generation <= last:
                progress.played = self._heard(progress, now)
                progress.move(ReplyCause.FLUSH)
        self._free_from_us = min(self._free_from_us, now)

    def report(self, report: Playback) -> ReplyProgress | None:
        """Take a player's report; returns the line after clamping, or None if it names no known reply."""
        progress = self._replies.get(report.generation)
        if progress is None or (report.item_id, report.content_index) != (
            progress.item_id,
            progress.content_index,
        ):
            self._violation(f"report about generation {report.generation}, which is not known by that name")
            return None
        if progress.state is ReplyState.SETTLED:
            self._violation(f"report about generation {report.generation} after its last one")
            return None
        played = self._between(progress.played, report.played, progress.sent, "played")
        progress.played = played
        progress.buffered = self._between(0, report.buffered, progress.sent - played, "buffered")
        progress.underruns = max(progress.underruns, report.underruns)
        progress.playback = report.state
        if report.state in _FINAL:
            if report.state == "done" and played < progress.sent:
                self._violation(f"done with generation {report.generation} before its end")
            if not progress.move(ReplyCause.PLAY_OUT) and report.state == "done":
                self._violation(f"done with generation {report.generation} while it is being sent")
        return progress

    def heard(self, generation: int, now: int) -> int:
        """Samples of that reply the person has heard by now, as far as is known; 0 if it is unknown."""
        progress = self._replies.get(generation)
        return 0 if progress is None else self._heard(progress, now)

    def lead_us(self, now: int) -> int:
        """How long the player can go on with what was sent: the unplayed part of all replies."""
        lead = 0
        for progress in self._replies.values():
            if progress.audible:
                lead += (progress.sent - self._heard(progress, now)) * 1_000_000 // progress.rate
        return lead

    def _heard(self, progress: ReplyProgress, now: int) -> int:
        if self._reports or progress.started_us is None or not progress.audible:
            return progress.played
        elapsed = max(0, now - progress.started_us)
        return max(progress.played, min(progress.sent, elapsed * progress.rate // 1_000_000))

    def _between(self, low: int, value: int, high: int, what: str) -> int:
        if low <= value <= high:
            return value
        self._violation(f"{what} {value} is not between {low} and {high}")
        return min(max(value, low), high)

    def _violation(self, what: str) -> None:
        self.violations += 1
        self.last_violation = what


def _sounds_until(progress: ReplyProgress) -> int:
    return (progress.started_us or 0) + progress.sent * 1_000_000 // progress.rate
