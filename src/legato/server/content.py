"""From what an agent says to what is sent: text, speech or encoded audio become payloads of one format.

Owns the conversion and where each text's sound begins; must not know calls, sessions or networks. `pieces`
is for what is said, `parts` for a response, of which some is sound and some is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from typing import TypeAlias

import msgspec

from legato.agents.base import Content, Outcome, ResponseContent, Speech, ToolCall
from legato.agents.sentences import sentences
from legato.agents.stages.base import TextToSpeech
from legato.audio.convert import OutgoingAudio
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.errors import AgentError

__all__ = ["Part", "Piece", "parts", "pieces"]

SLICE_MS = 100
"""Speech is coded this much at a time, so that coding a long piece does not hold the event loop."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One payload of `samples` samples; `text` is what begins to sound with it."""

    payload: bytes
    samples: int
    text: str = ""


Part: TypeAlias = Piece | AudioFrame | AudioGap | str | ToolCall | Outcome
"""A piece of a response: sound; sound as it is, or what is missing of it; text to be read; (part of) a call
of a tool; how it ended."""


async def pieces(
    content: Content, form: AudioFormat, voice: TextToSpeech | None
) -> AsyncGenerator[Piece | AudioFrame, None]:
    """Turn `content` into payloads of `form`, no faster than they are taken.

    Raises `AgentError` when the content or the voice does; other exceptions of the content come through.
    """
    source: AsyncIterable[object] = _written(content) if isinstance(content, str) else content
    coder = _Coder(form)
    items = aiter(source)
    try:
        async for item in items:
            if type(item) is AudioFrame:
                yield item
            elif isinstance(item, Speech):
                for piece in coder.convert(item):
                    yield piece
            elif isinstance(item, str):
                async for piece in _spoken(item, items, coder, voice):
                    yield piece
            elif not isinstance(item, AudioGap):
                raise AgentError(f"cannot say {type(item).__name__}: give text, Speech or AudioFrame")
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
    for piece in coder.flush():
        yield piece


async def parts(content: ResponseContent, form: AudioFormat) -> AsyncGenerator[Part, None]:
    """Turn the content of a response into parts in `form`; otherwise like `pieces`."""
    coder = _Coder(form)
    items = aiter(content)
    try:
        async for item in items:
            if isinstance(item, Speech):
                for piece in coder.convert(item):
                    yield piece
            elif isinstance(item, str | ToolCall | Outcome):
                # The sound before it must be whole before anything else begins.
                for piece in coder.flush():
                    yield piece
                yield item
            else:
                raise AgentError(
                    f"a response cannot hold {type(item).__name__}: give Speech, text, ToolCall or Outcome"
                )
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
    for piece in coder.flush():
        yield piece


async def _spoken(
    first: str, rest: AsyncIterator[object], coder: _Coder, voice: TextToSpeech | None
) -> AsyncGenerator[Piece, None]:
    """Speak text that is still being written, sentence by sentence."""
    if voice is None:
        raise AgentError("the call has no voice: set call.voice to a TextToSpeech before saying text")
    async for sentence in sentences(_text(first, rest)):
        async with contextlib.aclosing(_speech(voice, sentence)) as speech:
            async for piece in speech:
                for coded in coder.convert(piece):
                    yield coded


async def _speech(voice: TextToSpeech, sentence: str) -> AsyncGenerator[Speech, None]:
    speech = voice.speak(sentence)
    try:
        async for piece in speech:
            yield piece
    finally:
        if isinstance(speech, AsyncGenerator):
            await speech.aclose()


async def _text(first: str, rest: AsyncIterator[object]) -> AsyncIterator[str]:
    yield first
    async for item in rest:
        if not isinstance(item, str):
            raise AgentError("one say() takes either text or audio, not both")
        yield item


async def _written(text: str) -> AsyncIterator[str]:
    yield text


class _Coder:
    """Codes `Speech`, a slice at a time, and carries its text to the first payload that holds its sound."""

    def __init__(self, form: AudioFormat) -> None:
        self._outgoing = OutgoingAudio(form)
        # Where payloads can be joined, a burst costs a record per slice instead of one per frame.
        self._joins = form.bytes_per_sample is not None
        self._text = ""
        self._began = False

    def convert(self, speech: Speech) -> Iterator[Piece]:
        self._began = True
        if speech.text:
            self._text = f"{self._text} {speech.text}".strip()
        step = 2 * (speech.rate * SLICE_MS // 1000)
        for start in range(0, len(speech.pcm), step):
            yield from self._label(self._outgoing.convert(speech.pcm[start : start + step], speech.rate))

    def flush(self) -> list[Piece]:
        began, self._began = self._began, False
        return self._label(self._outgoing.flush()) if began else []

    def _label(self, coded: list[tuple[bytes, int]]) -> list[Piece]:
        if self._joins and len(coded) > 1:
            coded = [(b"".join(payload for payload, _ in coded), sum(samples for _, samples in coded))]
        found: list[Piece] = []
        for payload, samples in coded:
            found.append(Piece(payload, samples, self._text))
            self._text = ""
        return found
