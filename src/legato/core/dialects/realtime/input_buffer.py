"""The input audio buffer: how much was heard, who speaks, and which items come of it.

Owns positions, the state of speech (`states.py`) and the events about both, transcripts included. Must not
know responses, nor how speech is found. Positions are samples since the session began, told in
milliseconds of the same clock.
"""

from collections.abc import Callable

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime import refusals
from legato.core.dialects.realtime.conversation import Conversation
from legato.core.dialects.realtime.dialogue_events import DialogueEvent, InputCleared, InputCommitted
from legato.core.dialects.realtime.entry import Captured, Entry
from legato.core.dialects.realtime.outbox import Outbox
from legato.core.dialects.realtime.recent_audio import RecentAudio
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.states import InputCause, InputState, input_after
from legato.core.dialects.realtime.turn_detection import ServerVad
from legato.core.wire.messages import JsonObject

LEAST_MS = 100
"""The least audio a client may commit."""

MOST_UNSETTLED = 64
"""Items whose words may be to come; of more than that some never will."""

DETECTION_MS = 3_000
"""How long a detector may take until it tells of speech: audio is kept for that long besides its padding."""


class InputBuffer:
    """What was heard and is no item yet."""

    __slots__ = (
        "_automatic", "_conversation", "_item_id", "_lookback", "_origin", "_outbox", "_rate",
        "_recent", "_sample_bytes", "_start", "_state", "_tell", "_transcribes", "_unsettled",
        "position",
    )  # fmt: skip

    def __init__(
        self,
        outbox: Outbox,
        conversation: Conversation,
        tell: Callable[[DialogueEvent], None],
        audio_bytes: int | None,
        origin: int = 0,
    ) -> None:
        """`tell` the owner what it has to do; keep up to `audio_bytes` of audio, None of them without. The
        call began `origin` samples before this buffer."""
        self.position = 0
        self._origin = origin
        self._outbox = outbox
        self._conversation = conversation
        self._tell = tell
        self._recent = None if audio_bytes is None else RecentAudio(audio_bytes)
        self._state = InputState.QUIET
        self._start = 0
        self._item_id: str | None = None
        self._unsettled: dict[str, int] = {}

    @property
    def unsettled(self) -> dict[str, int]:
        """The items whose words are still to come, with the positions at which they begin."""
        return {item_id: start for item_id, start in self._unsettled.items() if item_id in self._conversation}

    def understood(self, read: int) -> int:
        """Up to which position input has become part of the conversation, or never will, if the agent has
        `read` so far."""
        open_from = self._start
        if self._automatic and not self.speaking:
            open_from = max(self._start, min(read, self.position) - self._lookback)
        return min([open_from, read, *self.unsettled.values()])

    @property
    def speaking(self) -> bool:
        """Whether speech goes on."""
        return self._state is InputState.SPEAKING

    def configure(self, settings: SessionSettings, form: AudioFormat) -> None:
        """Go by these settings from now on; `form` is the format in which audio arrives."""
        self._rate = form.rate
        self._sample_bytes = form.bytes_per_sample
        detection = settings.turn_detection
        self._automatic = detection is not None
        padding_ms = detection.prefix_padding_ms if isinstance(detection, ServerVad) else 0
        self._lookback = (padding_ms + DETECTION_MS) * form.rate // 1_000
        self._transcribes = settings.transcription is not None

    def hear(self, payload: bytes, samples: int) -> None:
        """Audio arrived; without bytes it is lost."""
        self.position += samples
        recent = self._recent
        if recent is not None and self._sample_bytes is not None:
            recent.add(self.position, payload)
            if self._automatic and self._state is InputState.QUIET:
                recent.forget(self.position - self._lookback)
            else:
                recent.forget(self._start - self._lookback)

    # Speech

    def speech_started(self, position: int) -> tuple[str, bool]:
        """Speech begins there; returns the item it will become, and whether that is news."""
        item_id = self._item_id = self._item_id or self._conversation.new_id()
        if not self._automatic or not self._move(InputCause.SPEECH_STARTS):
            return item_id, False
        self._start = min(max(self._start, position), self.position)
        self._outbox.say(
            "input_audio_buffer.speech_started", audio_start_ms=self._ms(self._start), item_id=item_id
        )
        return item_id, True

    def speech_stopped(self, position: int) -> tuple[str, int, int] | None:
        """Speech ended there: it becomes an item. Returns item, start and stop; None if nobody spoke."""
        if not self._automatic or not self._move(InputCause.SPEECH_STOPS):
            return None
        stop = min(max(self._start, position), self.position)
        self._outbox.say(
            "input_audio_buffer.speech_stopped", audio_end_ms=self._ms(stop), item_id=self._item_id
        )
        return self._commit(self._start, stop)

    def time_out(self, timeout_ms: int) -> None:
        """Nobody spoke for so long: the silence becomes an item."""
        start = max(self._start, self.position - timeout_ms * self._rate // 1_000)
        self._item_id = self._item_id or self._conversation.new_id()
        self._outbox.say(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=self._ms(start),
            audio_end_ms=self._ms(self.position),
            item_id=self._item_id,
        )
        # Nobody is asked for words in silence.
        self._unsettled.pop(self._commit(start, self.position)[0])

    # The client

    def commit(self) -> None:
        """The client commits what it sent since the last commit, or since speech began."""
        samples = self.position - self._start
        if samples < LEAST_MS * self._rate // 1_000:
            raise refusals.too_little_audio(samples * 1_000 / self._rate, LEAST_MS)
        self._move(InputCause.COMMIT)
        self._tell(InputCommitted(*self._commit(self._start, self.position)))

    def clear(self) -> None:
        """The client wants what it sent and did not commit to be forgotten."""
        self._move(InputCause.CLEAR)
        self._start = self.position
        self._item_id = None
        if self._recent is not None:
            self._recent.forget(self.position)
        self._outbox.say("input_audio_buffer.cleared")
        self._tell(InputCleared(self.position))

    # Transcripts

    def transcript_delta(self, item_id: str, text: str) -> None:
        """Words were recognised in an item, or in the speech that will become one."""
        index: int | None = 0
        if not self.speaking or not self.announced(item_id):
            entry = self._conversation.get(item_id)
            index = None if entry is None or entry.untranscribed is None else entry.untranscribed[0]
        if index is not None and text and self._transcribes:
            self._say_of_transcript("delta", item_id, index, delta=text)

    def transcript_done(self, entry: Entry, transcript: str, usage: JsonObject) -> None:
        """The words of an item are known."""
        if entry.untranscribed is None:
            return
        index, captured = entry.untranscribed
        captured.settled = True
        self._unsettled.pop(entry.id, None)
        captured.words = transcript
        if self._transcribes:
            captured.transcript = transcript
            if entry.id in self._conversation:
                self._say_of_transcript("completed", entry.id, index, transcript=transcript, usage=usage)
        self._conversation.grown(entry)

    def transcript_failed(self, entry: Entry, code: str, message: str) -> None:
        """The words of an item will never be known."""
        if entry.untranscribed is None:
            return
        index, captured = entry.untranscribed
        captured.settled = True
        self._unsettled.pop(entry.id, None)
        if self._transcribes and entry.id in self._conversation:
            error = {"type": "server_error", "code": code, "message": message, "param": None}
            self._say_of_transcript("failed", entry.id, index, error=error)

    def announced(self, item_id: str) -> bool:
        """Whether the next item made of input will be called that."""
        return item_id == self._item_id

    def _commit(self, start: int, stop: int) -> tuple[str, int, int]:
        """Make an item of what was heard between two positions."""
        item_id = self._item_id or self._conversation.new_id()
        self._item_id = None
        self._start = stop
        self._unsettled[item_id] = start
        if len(self._unsettled) > MOST_UNSETTLED:
            del self._unsettled[next(iter(self._unsettled))]
        entry = Entry(item_id, "message", "user")
        entry.content.append(Captured())
        self._outbox.say(
            "input_audio_buffer.committed", item_id=item_id, previous_item_id=self._conversation.last()
        )
        self._conversation.add(entry)
        if self._recent is not None and self._sample_bytes is not None:
            audio = self._recent.between(start, stop, self._sample_bytes)
            self._conversation.keep(item_id, audio or b"")
        self._conversation.done(entry)
        return item_id, start, stop

    def _move(self, cause: InputCause) -> bool:
        """Change state if the cause matters now; returns whether it does."""
        after = input_after(self._state, cause)
        if after is None:
            return False
        self._state = after
        return True

    def _say_of_transcript(self, what: str, item_id: str, index: int, **members: object) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        self._outbox.say(kind, item_id=item_id, content_index=index, **members)

    def _ms(self, position: int) -> int:
        return (self._origin + position) * 1_000 // self._rate
