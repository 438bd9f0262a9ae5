"""The demonstration itself: a server in a process of its own, a call, and questions one after the other.

Owns the script and its pace; must not know how anything is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from legato.agents.settings import AssistantSettings
from legato.agents.stages import tts_flite
from legato.audio.resample import Resampler
from legato.bench.processes import child, free_port, temporary_identity, wait_for_port
from legato.bench.serving import serve_command
from legato.cli.showing.account import Account, Recorder
from legato.cli.showing.microphone import Microphone
from legato.cli.talking.turns import Turn, TurnLog
from legato.cli.talking.view import Connected
from legato.client.devices import VirtualSpeaker
from legato.client.session import RealtimeSession, connect
from legato.client.settings import ClientSettings
from legato.core.errors import AgentError

__all__ = ["SCRIPT", "Question", "demonstrate"]

PATIENCE_S = 60.0
PAUSE_S = 0.4
"""Between the end of an answer and the next question."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to say; `barge_in_s` is how much of the answer before it is heard out, None for all of it."""

    text: str
    barge_in_s: float | None = None


SCRIPT = (
    Question("What is seven plus five?"),
    Question("What time is it?"),
    Question("Tell me a long story."),
    Question("What is nine times four?", barge_in_s=2.5),
)


async def demonstrate(folder: Path, script: tuple[Question, ...] = SCRIPT) -> bool:
    """Hold the conversation and print it; `folder` exists. Returns whether every question got an answer."""
    console = Console(highlight=False)
    spoken = [await _speech(question.text, ClientSettings().input.rate) for question in script]
    async with _server() as (url, settings):
        recorder = Recorder()
        session = connect(url, settings, VirtualSpeaker(recorder.record))
        started_us = session.now_us()
        account = Account(console, recorder, folder)
        log = TurnLog(account, settings.output[0].rate)
        async with session:
            account.show(_connected(session, started_us))
            await _Conversation(session, log, recorder).hold(script, spoken)
        log.finish()
    unanswered = [turn.number for turn in log.turns if not (turn.heard and turn.answer and turn.parts)]
    console.print()
    if unanswered:
        console.print(f"[red]no answer in turn {', '.join(map(str, unanswered))}[/]")
    else:
        console.print(f"[green]{len(log.turns)} turns, every one answered[/]; replies are in {folder}/")
    return not unanswered


class _Conversation:
    """One call, from the first question to the last answer."""

    def __init__(self, session: RealtimeSession, log: TurnLog, recorder: Recorder) -> None:
        self._session = session
        self._log = log
        self._recorder = recorder
        self._changed = asyncio.Event()

    async def hold(self, script: tuple[Question, ...], spoken: list[bytes]) -> None:
        """Ask every question at its time and hear the last answer out."""
        microphone = Microphone(self._session)
        tasks = [asyncio.create_task(microphone.run()), asyncio.create_task(self._follow())]
        try:
            for question, pcm in zip(script, spoken, strict=True):
                await self._wait_for_turn(question)
                self._log.begin(question.text, self._session.now_us())
                self._log.speech_ended(await microphone.speak(pcm))
            await self._until(self._all_settled)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_turn(self, question: Question) -> None:
        heard_ms = question.barge_in_s and question.barge_in_s * 1000
        before = self._log.current
        if before is None:
            return
        if heard_ms is None:
            await self._until(self._all_settled)
            await asyncio.sleep(PAUSE_S)
        else:
            await self._until(lambda: before.played_ms >= heard_ms)

    def _all_settled(self) -> bool:
        return all(turn.settled for turn in self._log.turns)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that only events can change; gives up quietly, the account will show it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    async def _follow(self) -> None:
        async for event in self._session.events:
            self._log.feed(event)
            self._log.note_lead(self._session.playback.buffered)
            self._recorder.turn = self._answering()
            self._changed.set()

    def _answering(self) -> Turn | None:
        return next((turn for turn in reversed(self._log.turns) if turn.parts), None)


def _connected(session: RealtimeSession, started_us: int) -> Connected:
    welcome = session.welcome
    assert welcome is not None
    return Connected(
        url=session.url,
        session=welcome.session_id,
        input=f"{welcome.input.codec}/{welcome.input.rate}",
        output=f"{welcome.output.codec}/{welcome.output.rate}",
        connect_ms=(session.now_us() - started_us) / 1000,
    )


async def _speech(text: str, rate: int) -> bytes:
    """Speak a question as mono s16le at `rate`. Raises `SettingsError` or `AgentError` without flite."""
    voice = tts_flite.build(AssistantSettings.model_validate({}))
    pieces = [piece async for piece in voice.speak(text)]
    if not pieces:
        raise AgentError(f"flite said nothing for {text!r}")
    resampler = Resampler(pieces[0].rate, rate)
    return resampler.process(b"".join(piece.pcm for piece in pieces)) + resampler.flush()


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[str, ClientSettings]]:
    """Run `legato serve` with the assistant; gives its address and whom to trust."""
    port = free_port()
    with temporary_identity() as identity:
        command = serve_command(port, identity, "assistant")
        with child("the server", command) as server:
            await asyncio.to_thread(wait_for_port, server, port)
            yield f"https://127.0.0.1:{port}", ClientSettings(certificate_hashes=(identity.sha256,))
