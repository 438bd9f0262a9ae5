"""A call that exists only in memory, for testing agents: implements `agents.base.Call`, played by the test.

The test is the caller: it feeds audio, reads what was sent, and decides how much of an answer has been heard.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from legato._inbox import Inbox
from legato.agents.base import Content, Speech, Tool, ToolSet
from legato.agents.sentences import Sentences
from legato.agents.stages.base import TextToSpeech
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.errors import AgentError

__all__ = ["MemoryCall", "MemoryUtterance"]

FRAME_MS = 20


class MemoryUtterance:
    """What the agent says. `audio` holds the pieces as they came; positions are milliseconds."""

    def __init__(self, call: "MemoryCall", name: str) -> None:
        self.id = name
        self.audio: list[Speech | AudioFrame] = []
        self.complete = False
        self.interrupted = False
        self.error: AgentError | None = None
        self.made_ms = 0.0
        self.played_ms = 0.0
        self._call = call
        self._spans: list[tuple[float, str]] = []
        self._settled = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """The text given so far."""
        return " ".join(text for _, text in self._spans)

    @property
    def heard_ms(self) -> int:
        """What the test has played."""
        return int(self.played_ms)

    @property
    def heard_text(self) -> str:
        """What of the text lies within what was played, cut at a word."""
        heard: list[str] = []
        ends = [start for start, _ in self._spans[1:]] + [self.made_ms]
        for (start, text), end in zip(self._spans, ends, strict=False):
            words = text.split()
            part = 1.0 if self.played_ms >= end else max(0.0, (self.played_ms - start) / (end - start))
            heard += words[: int(part * len(words))]
        return " ".join(heard)

    @property
    def settled(self) -> bool:
        """Whether it is over."""
        return self._settled.done()

    @property
    def finished(self) -> Awaitable[None]:
        """Settles when played, flushed, or the call is over."""
        return asyncio.shield(self._settled)

    @property
    def pcm(self) -> bytes:
        """All speech so far, or the payloads of frames."""
        return b"".join(piece.pcm if isinstance(piece, Speech) else piece.payload for piece in self.audio)

    def cancel(self) -> None:
        """Stop it."""
        self._call.stop(self)

    def add(self, piece: Speech | AudioFrame) -> None:
        """More of it has been made."""
        self.audio.append(piece)
        rate = piece.rate if isinstance(piece, Speech) else piece.format.rate
        if isinstance(piece, Speech) and piece.text:
            self._spans.append((self.made_ms, piece.text))
        self.made_ms += piece.samples * 1000 / rate

    def settle(self) -> None:
        """It is over."""
        if not self._settled.done():
            self.interrupted = not (self.complete and self.played_ms >= self.made_ms and self.error is None)
            self._settled.set_result(None)


class MemoryCall:
    """One caller. With `plays` each utterance is heard as soon as it is complete, otherwise by `play`."""

    def __init__(
        self,
        input_format: AudioFormat | None = None,
        output_format: AudioFormat | None = None,
        tools: Iterable[Tool] = (),
        plays: bool = True,
    ) -> None:
        self.id = "memory"
        self.input_format = input_format or AudioFormat("pcm16", 16_000)
        self.output_format = output_format or self.input_format
        self.tools = ToolSet(tools)
        self.voice: TextToSpeech | None = None
        self.plays = plays
        self.sent: list[dict[str, Any]] = []
        self.utterances: list[MemoryUtterance] = []
        self.over = False
        self._audio: Inbox[AudioFrame | AudioGap] = Inbox(lambda _: self._change())
        self._events: Inbox[dict[str, Any]] = Inbox()
        self._offset = 0
        self._queue: list[tuple[MemoryUtterance, AsyncGenerator[Any, None]]] = []
        self._saying: asyncio.Task[None] | None = None
        self._now: MemoryUtterance | None = None
        self._changed = asyncio.Event()

    # The agent's side

    @property
    def audio(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """What the test feeds."""
        return self._audio

    @property
    def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the test sends."""
        return self._events

    def say(self, content: Content) -> MemoryUtterance:
        """See `Call.say`."""
        if isinstance(content, str) and self.voice is None:
            raise AgentError("the call has no voice")
        utterance = MemoryUtterance(self, f"said-{len(self.utterances) + 1}")
        self.utterances.append(utterance)
        if self.over:
            utterance.settle()
        else:
            self._queue.append((utterance, _pieces(content, self.voice)))
            self._next()
        self._change()
        return utterance

    def interrupt(self) -> None:
        """See `Call.interrupt`."""
        for utterance in self.utterances:
            self.stop(utterance)

    def send(self, event: dict[str, Any]) -> None:
        """See `Call.send`."""
        if not self.over:
            self.sent.append(event)
            self._change()

    # The test's side

    def hear(self, *items: AudioFrame | AudioGap) -> None:
        """The agent hears frames or gaps."""
        for item in items:
            self._audio.put(item)

    def hear_pcm(self, pcm: bytes) -> None:
        """The agent hears mono s16le at the input rate, in frames of 20 ms behind everything before."""
        step = 2 * self.input_format.rate * FRAME_MS // 1000
        for start in range(0, len(pcm), step):
            payload = pcm[start : start + step]
            captured = self._offset * 1_000_000 // self.input_format.rate
            self.hear(AudioFrame(self._offset, captured, payload, self.input_format))
            self._offset += len(payload) // 2

    def lose(self, samples: int) -> None:
        """The agent hears of a gap."""
        self.hear(AudioGap(self._offset, self._offset + samples))
        self._offset += samples

    def receive(self, event: dict[str, Any]) -> None:
        """The agent gets an event."""
        self._events.put(event)

    def play(self, milliseconds: float) -> None:
        """So much more of what has been made is heard."""
        for utterance in self.utterances:
            if not utterance.settled and milliseconds > 0:
                step = min(milliseconds, utterance.made_ms - utterance.played_ms)
                utterance.played_ms += step
                milliseconds -= step
                self._finish(utterance)
        self._change()

    def end(self) -> None:
        """The call is over."""
        self.over = True
        self.interrupt()
        self._audio.close()
        self._events.close()
        self._change()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens in the call: audio read, an event sent, speech made, played,
        over."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def heard_all(self) -> None:
        """Wait until the agent has read all audio."""
        await self.until(lambda: len(self._audio) == 0)

    def sent_of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type sent so far."""
        return [event for event in self.sent if event["type"] == kind]

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th event of a type."""
        await self.until(lambda: len(self.sent_of(kind)) >= count)
        return self.sent_of(kind)[count - 1]

    async def utterance(self, count: int = 1) -> MemoryUtterance:
        """Wait for the `count`-th utterance."""
        await self.until(lambda: len(self.utterances) >= count)
        return self.utterances[count - 1]

    @property
    def saying(self) -> bool:
        """Whether something is being made right now."""
        return self._saying is not None

    def stop(self, utterance: MemoryUtterance) -> None:
        """Flush one utterance."""
        if utterance.settled:
            return
        if utterance is self._now and self._saying is not None:
            self._saying.cancel()
        self._queue = [entry for entry in self._queue if entry[0] is not utterance]
        utterance.settle()
        self._change()

    def _change(self) -> None:
        self._changed.set()

    def _next(self) -> None:
        if self._saying is None and self._queue:
            self._now, pieces = self._queue.pop(0)
            self._saying = asyncio.create_task(self._say(self._now, pieces))
            self._saying.add_done_callback(self._said)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._saying = self._now = None
        self._next()
        self._change()

    async def _say(self, utterance: MemoryUtterance, pieces: AsyncGenerator[Any, None]) -> None:
        try:
            async for piece in pieces:
                utterance.add(piece)
                self._change()
            utterance.complete = True
        except AgentError as error:
            utterance.error = error
        except Exception as error:
            utterance.error = AgentError(str(error))
        finally:
            await pieces.aclose()
        if self.plays:
            utterance.played_ms = utterance.made_ms
        self._finish(utterance)
        self._change()

    def _finish(self, utterance: MemoryUtterance) -> None:
        made = utterance.complete or utterance.error is not None
        if made and utterance.played_ms >= utterance.made_ms:
            utterance.settle()


async def _pieces(content: Any, voice: TextToSpeech | None) -> AsyncGenerator[Speech | AudioFrame, None]:
    if isinstance(content, str):
        assert voice is not None
        collected = Sentences()
        for sentence in [*collected.feed(content), collected.flush()]:
            async for piece in voice.speak(sentence):
                yield piece
        return
    try:
        async for item in content:
            if isinstance(item, str):
                raise AgentError("a memory call takes whole text, speech or frames")
            if not isinstance(item, AudioGap):
                yield item
    finally:
        if isinstance(content, AsyncGenerator):
            await content.aclose()
