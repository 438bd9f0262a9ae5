"""Which words belong to which item of the conversation, and what the caller is told of them meanwhile.

Owns the way from stretches of speech, as the listener finds them, to items: in turn detection each stretch is
an item, otherwise everything up to the client's commit is one. It must not know what is answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from legato.agents.base import Call
from legato.agents.listener import (
    Dropped,
    Heard,
    Listener,
    PartlyRecognised,
    Reached,
    Recognised,
    SpeechStarted,
    SpeechStopped,
)
from legato.agents.recognising import as_agent_error, hints_of
from legato.agents.stages.base import HEARING_RATE, SpeechToText
from legato.agents.transcript import GrowingText
from legato.audio.convert import IncomingAudio
from legato.core.audio import AudioFrame
from legato.core.dialects.realtime.dialogue_events import AudioItemCreated, InputCleared, InputCommitted
from legato.core.dialects.realtime.turn_detection import TurnDetection
from legato.core.errors import AgentError

__all__ = ["Hearing"]

_MOST_LOOSE = 200
"""Stretches kept for a commit that may never come; beyond that the oldest are forgotten."""


@dataclass(slots=True, eq=False)
class _Item:
    """An item of the conversation that is being heard or understood."""

    id: str
    start: int = 0
    stop: int = 0
    stretches: list["_Stretch"] = field(default_factory=list)
    growing: GrowingText = field(default_factory=GrowingText)
    committed: bool = False
    closed: bool = False
    """Whether no further stretch will belong to it."""

    @property
    def text(self) -> str:
        """Its words so far."""
        return " ".join(stretch.text for stretch in self.stretches if stretch.text)


@dataclass(slots=True, eq=False)
class _Stretch:
    """A stretch of speech; `item` is None until a commit, `recognised` once its words are final."""

    position: int
    item: _Item | None = None
    text: str = ""
    recognised: bool = False
    error: AgentError | None = None


@dataclass(frozen=True, slots=True)
class _Cut:
    """Up to `position` all belongs to `item`, or nobody wants to know it."""

    position: int
    item: _Item | None


class Hearing:
    """What is heard in one call. `on_speech` is told when a person begins or stops speaking, `on_words` when
    an item has been understood: its id, its words, and why it failed if it did."""

    def __init__(
        self,
        call: Call,
        recognition: SpeechToText,
        on_speech: Callable[[bool], None],
        on_words: Callable[[str, str, AgentError | None], None],
    ) -> None:
        self._call = call
        self._dialogue = call.dialogue
        self._recognition = recognition
        self._on_speech = on_speech
        self._on_words = on_words
        self._listener: Listener | None = None
        self._turns: TurnDetection | None = call.dialogue.settings.turn_detection
        self._speaking: set[int] = set()
        self._stretches: dict[int, _Stretch] = {}
        self._loose: list[_Stretch] = []
        self._items: dict[str, _Item] = {}
        self._cuts: deque[_Cut] = deque()
        self._giving = asyncio.Lock()
        self._news = asyncio.Event()

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks."""
        return bool(self._speaking)

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, or something is not understood yet."""
        return bool(self._speaking or self._items)

    async def understood(self) -> None:
        """Wait until the words of every committed item are known."""
        while any(item.committed for item in self._items.values()):
            self._news.clear()
            await self._news.wait()

    def follow(self, listener: Listener) -> None:
        """Tell `listener` where the client cuts what is said, and by which rules speech ends."""
        self._listener = listener

    def adjust(self, turns: TurnDetection | None) -> None:
        """The session detects turns by other rules from now on."""
        if turns == self._turns:
            return
        if (turns is None) != (self._turns is None):
            for number in self._speaking:
                self._move(self._stretches[number], to_item=turns is not None)
        self._turns = turns
        if self._listener is not None:
            self._listener.adjust(turns)

    def _move(self, stretch: _Stretch, to_item: bool) -> None:
        """What is being said while the rules change becomes an item, or waits for a commit."""
        if to_item and stretch.item is None:
            if stretch in self._loose:
                self._loose.remove(stretch)
            self._open_item(stretch)
        elif not to_item and stretch.item is not None and not stretch.item.committed:
            del self._items[stretch.item.id]
            stretch.item = None
            self._loose.append(stretch)

    # What the client does

    def commit(self, event: InputCommitted) -> None:
        """Everything heard between two positions is one item."""
        item = self._items.setdefault(event.item_id, _Item(event.item_id))
        item.start, item.stop, item.committed = event.start, event.stop, True
        for stretch in [one for one in self._loose if one.position < event.stop]:
            self._loose.remove(stretch)
            self._join(stretch, item)
        self._cut(_Cut(event.stop, item))

    def clear(self, event: InputCleared) -> None:
        """Nobody wants to know what was said before a position and not committed."""
        self._loose = [stretch for stretch in self._loose if stretch.position >= event.position]
        self._cut(_Cut(event.position, None))

    async def give(self, event: AudioItemCreated) -> None:
        """Understand an item that came with its audio; one after the other. The dialogue bounds how much
        waits."""
        item = self._items[event.item_id] = _Item(event.item_id, committed=True, closed=True)
        stretch = _Stretch(0, item)
        item.stretches.append(stretch)
        try:
            async with self._giving:
                stretch.text = await self._recognised(item, event)
        except Exception as error:
            stretch.error = as_agent_error(error)
        stretch.recognised = True
        self._finish_if_done(item)

    def _cut(self, cut: _Cut) -> None:
        self._cuts.append(cut)
        if self._listener is not None:
            self._listener.cut(cut.position, forget=cut.item is None)

    # What the listener finds

    def heard(self, heard: Heard) -> None:
        """Take note, and tell the caller what follows from it."""
        self.adjust(self._dialogue.settings.turn_detection)
        if isinstance(heard, SpeechStarted):
            self._begin(heard)
        elif isinstance(heard, Reached):
            self._reach(heard.position)
        elif (stretch := self._stretches.get(heard.stretch)) is None:
            return
        elif isinstance(heard, SpeechStopped):
            self._stop(heard, stretch)
        elif isinstance(heard, PartlyRecognised):
            stretch.text = heard.text
            self._grow(stretch.item)
        elif isinstance(heard, Recognised):
            self._recognise(heard, stretch)
        else:
            self._drop(heard, stretch)

    def _begin(self, heard: SpeechStarted) -> None:
        self._speaking.add(heard.stretch)
        stretch = self._stretches[heard.stretch] = _Stretch(heard.position)
        cut = next((cut for cut in self._cuts if heard.position < cut.position), None)
        if cut is not None:
            if cut.item is not None:
                self._join(stretch, cut.item)
        elif self._turns is None:
            self._loose.append(stretch)
            del self._loose[:-_MOST_LOOSE]
        else:
            self._open_item(stretch)
        self._on_speech(True)

    def _open_item(self, stretch: _Stretch) -> None:
        item_id = self._dialogue.speech_started(stretch.position)
        self._join(stretch, self._items.setdefault(item_id, _Item(item_id, stretch.position)))

    def _stop(self, heard: SpeechStopped, stretch: _Stretch) -> None:
        self._speaking.discard(heard.stretch)
        item = stretch.item
        if item is not None and not item.committed:
            item.stop, item.committed, item.closed = heard.position, True, True
            self._dialogue.speech_stopped(heard.position)
        self._on_speech(False)

    def _drop(self, heard: Dropped, stretch: _Stretch) -> None:
        self._speaking.discard(heard.stretch)
        del self._stretches[heard.stretch]
        if stretch.item is not None:
            self._items.pop(stretch.item.id, None)
        elif stretch in self._loose:
            self._loose.remove(stretch)
        self._news.set()
        self._on_speech(False)

    def _reach(self, position: int) -> None:
        while self._cuts and self._cuts[0].position <= position:
            item = self._cuts.popleft().item
            if item is not None:
                item.closed = True
                self._finish_if_done(item)

    def _recognise(self, heard: Recognised, stretch: _Stretch) -> None:
        del self._stretches[heard.stretch]
        stretch.text, stretch.error, stretch.recognised = heard.text, heard.error, True
        if stretch.item is not None:
            self._finish_if_done(stretch.item)

    def _join(self, stretch: _Stretch, item: _Item) -> None:
        stretch.item = item
        item.stretches.append(stretch)

    def _grow(self, item: _Item | None) -> None:
        if item is not None and (delta := item.growing.grow(item.text)):
            self._dialogue.transcript_delta(item.id, delta)

    def _finish_if_done(self, item: _Item) -> None:
        if not item.closed or not all(stretch.recognised for stretch in item.stretches):
            return
        self._items.pop(item.id, None)
        error = next((stretch.error for stretch in item.stretches if stretch.error is not None), None)
        text = item.text
        if error is not None:
            self._dialogue.transcript_failed(item.id, str(error))
        else:
            if delta := item.growing.finish(text):
                self._dialogue.transcript_delta(item.id, delta)
            seconds = (item.stop - item.start) / self._call.input_format.rate
            self._dialogue.transcript_done(item.id, text, seconds)
        self._news.set()
        self._on_words(item.id, text, error)

    async def _recognised(self, item: _Item, event: AudioItemCreated) -> str:
        try:
            pcm = await asyncio.to_thread(_decoded, event)
        except ValueError as error:
            raise AgentError(f"this is not audio of the format: {error}") from error
        item.stop = len(pcm) // 2 * self._call.input_format.rate // HEARING_RATE
        recogniser = self._recognition.open(hints=hints_of(self._dialogue.settings))
        try:
            await recogniser.feed(pcm)
            return await recogniser.finish()
        finally:
            await recogniser.close()


def _decoded(event: AudioItemCreated) -> bytes:
    """The audio of an item; there may be minutes of it. Raises ValueError."""
    incoming = IncomingAudio(event.format, HEARING_RATE)
    return incoming.take(AudioFrame.of(0, 0, event.payload, event.format)) + incoming.flush()
