"""From sentences that are still being written to speech, later ones synthesised while earlier ones are said.

Owns the order and the look-ahead; must not know calls or language models. What is not to be spoken, such as
a tool call between two sentences, keeps its place.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from legato.agents.base import Outcome, Speech, ToolCall
from legato.agents.stages.base import USUAL, Delivery, TextToSpeech
from legato.core.errors import AgentError

__all__ = ["spoken"]

MOST_WAITING_BYTES = 4 << 20
"""Sound of one sentence that may wait for its turn, more than a minute: a voice that does not end has to
wait, and does not fill the memory."""

MOST_SENTENCES = 200
"""Sentences that may wait to be spoken before no more are read: a quarter of an hour."""

_MOST_AT_ONCE = 5
"""Sentences cut in one go: a book that comes in one piece must not keep other calls waiting."""

_BROKEN_OFF = "what was to be said broke off: it was cancelled from within"


class _End:
    """Stands behind the last entry of a queue, whatever ended it; carries what went wrong."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


class _Sentence:
    """One sentence being synthesised; its pieces wait here for their turn."""

    def __init__(self, voice: TextToSpeech, text: str, delivery: Delivery) -> None:
        self._pieces: asyncio.Queue[Speech | _End] = asyncio.Queue()
        self._waiting = 0
        self._taken = asyncio.Event()
        self.task = asyncio.create_task(self._synthesise(voice, text, delivery))

    async def _synthesise(self, voice: TextToSpeech, text: str, delivery: Delivery) -> None:
        end = _End(AgentError(_BROKEN_OFF, retryable=True))
        try:
            async with aclosing(voice.speak(text, delivery)) as speech:
                async for piece in speech:
                    self._pieces.put_nowait(piece)
                    self._waiting += len(piece.pcm)
                    while self._waiting > MOST_WAITING_BYTES:
                        self._taken.clear()
                        await self._taken.wait()
            end = _End()
        except Exception as error:
            end = _End(error)
        finally:
            self._pieces.put_nowait(end)

    async def pieces(self) -> AsyncIterator[Speech]:
        """The speech, as far as it exists; raises what the voice raised."""
        while not isinstance(piece := await self._pieces.get(), _End):
            self._waiting -= len(piece.pcm)
            self._taken.set()
            yield piece
        if piece.error is not None:
            raise piece.error


class _Ahead:
    """Reads sentences as they are written and keeps up to `ahead` of them in synthesis."""

    def __init__(
        self,
        sentences: AsyncGenerator[str | ToolCall | Outcome, None],
        voice: TextToSpeech,
        ahead: int,
        delivery: Delivery,
    ) -> None:
        self._voice = voice
        self._delivery = delivery
        self._texts: asyncio.Queue[str | ToolCall | Outcome | _End] = asyncio.Queue()
        self._ready: asyncio.Queue[_Sentence | ToolCall | Outcome | _End] = asyncio.Queue()
        self._room = asyncio.Semaphore(ahead)
        self._unread = asyncio.Semaphore(MOST_SENTENCES)
        self._begun: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._read(sentences)), asyncio.create_task(self._synthesise())]

    async def next(self) -> _Sentence | ToolCall | Outcome | _End:
        """What comes next in order; the sentence before must have been said."""
        return await self._ready.get()

    def said(self) -> None:
        """One sentence needs its place no longer."""
        self._room.release()

    async def stop(self) -> None:
        """End the reading and every synthesis."""
        unfinished = [task for task in (*self._tasks, *self._begun) if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)

    async def _read(self, sentences: AsyncGenerator[str | ToolCall | Outcome, None]) -> None:
        end = _End(AgentError(_BROKEN_OFF, retryable=True))
        try:
            async for sentence in sentences:
                await self._unread.acquire()
                self._texts.put_nowait(sentence)
                if self._texts.qsize() > _MOST_AT_ONCE:
                    await asyncio.sleep(0)
            end = _End()
        except Exception as error:
            end = _End(error)
        finally:
            self._texts.put_nowait(end)
            await sentences.aclose()

    async def _synthesise(self) -> None:
        while not isinstance(text := await self._texts.get(), _End):
            self._unread.release()
            if not isinstance(text, str):
                self._ready.put_nowait(text)
                continue
            await self._room.acquire()
            sentence = _Sentence(self._voice, text, self._delivery)
            self._begun.add(sentence.task)
            sentence.task.add_done_callback(self._begun.discard)
            self._ready.put_nowait(sentence)
        self._ready.put_nowait(text)


async def spoken(
    sentences: AsyncGenerator[str | ToolCall | Outcome, None],
    voice: TextToSpeech,
    ahead: int,
    delivery: Delivery = USUAL,
) -> AsyncGenerator[Speech | ToolCall | Outcome, None]:
    """`sentences` as speech; up to `ahead` of them are synthesised before their turn.

    The sentences are read as fast as they are written, however slowly they are said, as long as no more than
    `MOST_SENTENCES` of them wait. What the writer or the voice raises is raised after the speech that came
    before it. Ending early stops both.
    """
    work = _Ahead(sentences, voice, ahead, delivery)
    try:
        while not isinstance(part := await work.next(), _End):
            if isinstance(part, _Sentence):
                async for piece in part.pieces():
                    yield piece
                work.said()
            else:
                yield part
        if part.error is not None:
            raise part.error
    finally:
        await work.stop()
