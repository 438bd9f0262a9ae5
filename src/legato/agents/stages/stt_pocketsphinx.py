"""Recognition by pocketsphinx while the person speaks, offline (extra `assistant`).

Owns a bounded pool of decoder processes (`pocketsphinx_worker`, about 90 MB each for open vocabulary, 30 MB
for a grammar), shared by all calls in the order in which they ask. It must not know calls or voice activity.
"""

import asyncio
import importlib.util
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError, SettingsError

from . import programs
from .base import NO_HINTS, Hints, SpeechToTextCapabilities
from .pocketsphinx_worker import HEADER

__all__ = ["PocketsphinxSpeechToText", "build"]

_WORKER = Path(__file__).with_name("pocketsphinx_worker.py")
_GRAMMARS = Path(__file__).with_name("models")
_PATIENCE_S = 30.0
"""Longest time one request may take before its decoder is given up."""
_MOST_AT_ONCE = 2 * 16_000 * 2
"""Bytes fed in one request: two seconds, so that a long backlog still gives partial results."""

_IDLE_S = 5.0
"""How long a decoder waits for the rest of a sentence: whoever lost the connection or muted the microphone in
mid-word keeps nobody waiting for longer. What they said is decoded anew if they go on."""

_MEANS = "43.43,1.88,3.52,14.64,-1.42,-0.66,2.36,-2.96,-1.21,-1.83,3.29,0.41,2.22"
"""Cepstral means for a voice that was never heard: averaged over synthetic voices and human recordings."""
_MOST_CALLERS = 1_000
_LANGUAGES = ("", "en")


class _Decoder:
    """One worker process. Requests run one after the other, each to its end even if nobody waits any more."""

    def __init__(
        self, program: programs.Program, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._program = program
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.broken = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self.broken and self._program.status is None

    async def ask(self, request: bytes, payload: bytes = b"") -> str:
        """One request; raises `AgentError` if it fails."""
        async with self._turn:
            try:
                self._writer.write(HEADER.pack(request, len(payload)) + payload)
                await self._writer.drain()
                return await self.answer()
            except (OSError, RuntimeError) as error:
                self.broken = True
                raise AgentError("the recogniser has stopped", retryable=True) from error

    async def answer(self) -> str:
        """The next answer."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                text = (await self._reader.readexactly(length)).decode()
        except (asyncio.IncompleteReadError, OSError) as error:
            self.broken = True
            raise AgentError("the recogniser has stopped", retryable=True) from error
        if status != b".":
            raise AgentError(f"pocketsphinx: {text}", retryable=False)
        return text

    async def stop(self) -> None:
        """End the process."""
        self.broken = True
        self._writer.close()
        await self._program.kill()


class PocketsphinxSpeechToText:
    """The pool. Decoders are started when they are first needed and stay until `close`."""

    def __init__(self, grammar: str, recognisers: int) -> None:
        self._grammar = grammar
        self.capabilities = SpeechToTextCapabilities(partials=True, simultaneous=recognisers)
        self._free = asyncio.Semaphore(recognisers)
        self._idle: list[_Decoder] = []
        self._running: set[_Decoder] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._means: dict[str, str] = {}
        self._warming: asyncio.Task[None] | None = None
        self._closed = False

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> "_Recogniser":
        """A recogniser for one stretch of speech, tuned to what `caller` sounded like before."""
        return _Recogniser(self, caller, hints.language)

    async def warm(self) -> None:
        """Start one decoder. Whoever needs one meanwhile waits for it instead of starting another."""
        if self._warming is None and not self._running:
            self._warming = self.spawn(self._warm())
        if self._warming is not None:
            await asyncio.shield(self._warming)

    async def _warm(self) -> None:
        try:
            with suppress(AgentError):  # whoever needs it will be told
                self._idle.append(await self._start())
        finally:
            self._warming = None

    def means(self, caller: str) -> str:
        """The cepstral means to begin with."""
        return self._means.get(caller, _MEANS)

    def learn(self, caller: str, means: str) -> None:
        """Keep the cepstral means of a caller; of too many callers the longest silent is forgotten."""
        self._means.pop(caller, None)
        self._means[caller] = means
        if len(self._means) > _MOST_CALLERS:
            del self._means[next(iter(self._means))]

    async def take(self) -> _Decoder:
        """A free decoder, when it is this caller's turn; give it back with `give_back`."""
        await self._free.acquire()
        if self._warming is not None:
            try:
                await asyncio.shield(self._warming)
            except asyncio.CancelledError:
                self._free.release()
                raise
        while self._idle:
            if (decoder := self._idle.pop()).alive:
                return decoder
            self._running.discard(decoder)
            self.spawn(decoder.stop())
        starting = self.spawn(self._start())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._started_for_nobody)
            raise
        except Exception:
            self._free.release()
            raise

    def _started_for_nobody(self, starting: "asyncio.Task[_Decoder]") -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._idle.append(starting.result())
        self._free.release()

    async def give_back(self, decoder: _Decoder) -> None:
        """Return a decoder after whatever it is doing; a broken one is not used again."""
        try:
            if not decoder.broken:
                await decoder.ask(b"X")
                self._idle.append(decoder)
        except AgentError:
            decoder.broken = True
        finally:
            if decoder.broken:
                self._running.discard(decoder)
                await decoder.stop()
            self._free.release()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run `work` to its end, whoever stops waiting for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """End every decoder."""
        self._closed = True
        while self._tasks or self._running:
            running, self._running = self._running, set()
            await asyncio.gather(*(decoder.stop() for decoder in running))
            if self._tasks:
                await asyncio.wait(list(self._tasks))
        self._idle.clear()

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it

    async def _start(self) -> _Decoder:
        if self._closed:
            raise AgentError("speech recognition has been closed")
        try:
            command = [sys.executable, "-P", str(_WORKER), self._grammar]
            decoder = _Decoder(*await programs.start_with_pipe(command))
        except OSError as error:
            raise AgentError(f"the recogniser cannot be started: {error}", retryable=True) from error
        self._running.add(decoder)
        try:
            await decoder.answer()
        except AgentError as error:
            self._running.discard(decoder)
            await decoder.stop()
            if self._grammar and not self._closed:
                raise AgentError(f"pocketsphinx cannot work with {self._grammar!r}: {error}") from error
            raise
        return decoder


class _Recogniser:
    """One stretch of speech on a decoder of the pool, which it takes when it first hears something."""

    def __init__(self, pool: PocketsphinxSpeechToText, caller: str, language: str) -> None:
        self._pool = pool
        self._language = language
        self._caller = caller
        self._decoder: _Decoder | None = None
        self._understood = ""
        self._heard = bytearray()
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    async def feed(self, pcm: bytes) -> str | None:
        """Hear more audio."""
        before = self._understood
        for start in range(0, len(pcm), _MOST_AT_ONCE):
            piece = pcm[start : start + _MOST_AT_ONCE]
            self._understood = await self._ask(b"F", piece)
            self._heard += piece
        return self._understood if self._understood != before else None

    async def finish(self) -> str:
        """The final text."""
        if not self._heard:
            return ""
        text = await self._ask(b"E")
        if text and self._caller:
            self._pool.learn(self._caller, await self._ask(b"C"))
        return text

    async def close(self) -> None:
        """Give the decoder back."""
        if self._closed:
            return
        self._closed = True
        self._heard.clear()
        if (returning := self._let_go()) is not None:
            await asyncio.shield(returning)

    async def _ask(self, request: bytes, payload: bytes = b"") -> str:
        if self._closed:
            raise AgentError("the recogniser has been closed")
        if self._language.lower()[:2] not in _LANGUAGES:
            raise AgentError(f"pocketsphinx understands English only, not {self._language!r}")
        if self._idle is not None:
            self._idle.cancel()
        if self._decoder is None:
            self._decoder = await self._pool.take()
            await self._answered(b"S", self._pool.means(self._caller).encode())
            for start in range(0, len(self._heard), _MOST_AT_ONCE):
                await self._answered(b"F", bytes(self._heard[start : start + _MOST_AT_ONCE]))
        answer = await self._answered(request, payload)
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._let_go)
        return answer

    async def _answered(self, request: bytes, payload: bytes) -> str:
        assert self._decoder is not None
        answer: str = await asyncio.shield(self._pool.spawn(self._decoder.ask(request, payload)))
        return answer

    def _let_go(self) -> "asyncio.Task[None] | None":
        """Give the decoder back, if there is one."""
        if self._idle is not None:
            self._idle.cancel()
        decoder, self._decoder = self._decoder, None
        return None if decoder is None else self._pool.spawn(self._pool.give_back(decoder))


def build(settings: AssistantSettings) -> PocketsphinxSpeechToText:
    """The stage for `settings`. `stt_grammar` is a path, or the name of a grammar that comes with legato."""
    if importlib.util.find_spec("pocketsphinx") is None:
        raise ModuleNotFoundError("pocketsphinx is not installed", name="pocketsphinx")
    grammar = settings.stt_grammar
    if grammar:
        path = _GRAMMARS / f"{grammar}.gram" if grammar.isidentifier() else Path(grammar)
        if not path.is_file():
            raise SettingsError(f"stt_grammar: there is no grammar {str(path)!r}")
        if not path.read_bytes().startswith(b"#JSGF"):
            raise SettingsError(f"stt_grammar: {str(path)!r} is no grammar; one begins with #JSGF V1.0;")
        grammar = str(path)
    return PocketsphinxSpeechToText(grammar, settings.stt_recognisers)
