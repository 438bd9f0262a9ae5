"""The demonstration: a server in a process of its own, a call, and questions one after the other.

Owns the script; must not know how anything is shown, nor how a conversation is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from legato.agents.settings import AssistantSettings
from legato.agents.stages import tts_flite
from legato.audio.resample import Resampler
from legato.bench.processes import Child, child, free_port, temporary_identity, wait_for_port
from legato.bench.serving import serve_command
from legato.cli.showing.account import Account, Recorder
from legato.cli.showing.survival import LONG_QUESTION, survive
from legato.cli.talking.conversation import Conversation, Line, Plan
from legato.cli.talking.speech import Recording, voice_end
from legato.cli.talking.turns import TurnLog
from legato.cli.talking.view import Connected
from legato.client.devices import VirtualSpeaker
from legato.client.session import RealtimeSession, connect
from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat
from legato.core.errors import AgentError, LegatoError, SettingsError

__all__ = ["SCRIPT", "Question", "demonstrate"]


@dataclass(frozen=True, slots=True)
class Question:
    """Something to ask: after the answer before it, or `barge_in_s` seconds into that answer."""

    text: str
    barge_in_s: float | None = None


SCRIPT = (
    Question("What is seven plus five?"),
    Question("What time is it?"),
    Question("Tell me a long story."),
    Question("What is nine times four?", barge_in_s=2.5),
)


async def demonstrate(folder: Path, script: tuple[Question, ...] = SCRIPT, *, stays: bool = False) -> bool:
    """Hold the conversation and print it; `folder` exists. Then hold a call whose network dies.

    Returns whether every question got an answer, and the other call lost nothing.

    With `stays`, the server goes on afterwards, for whoever opens its page, until somebody presses Ctrl-C.
    """
    console = Console(highlight=False)
    rate = ClientSettings().input.rate
    lines = [Line(await _spoken(question.text, rate), question.barge_in_s) for question in script]
    long_question = await _spoken(LONG_QUESTION, rate)
    async with _server() as (server, port, settings):
        url = f"https://127.0.0.1:{port}"
        console.print(f"the page of this server, to talk to it yourself: {url}/")
        recorder = Recorder()
        account = Account(console, recorder, folder)
        log = TurnLog(account, settings.output[0].rate)
        recorder.turns = log.turns
        session = connect(url, settings, VirtualSpeaker(recorder.record))
        started_us = session.now_us()
        try:
            async with session:
                account.show(_connected(session, started_us))
                await Conversation(session, log).hold(Plan(tuple(lines)))
        except SettingsError:
            # A reply could not be written; that of the next question could not be either.
            raise
        except LegatoError as error:
            console.print(Text(str(error), "red"))
            console.print(Text(f"the server's last words: {server.last_words()}", "dim"))
        finally:
            log.finish()
        survived = await survive(console, port, settings, long_question)
        answered = account.sum_up(len(script))
        if stays:
            console.print(f"open {url}/ and accept its certificate; Ctrl-C ends the server")
            await _interrupted()
    return answered and survived


async def _interrupted() -> None:
    """Wait for Ctrl-C, which then ends nothing else."""
    pressed = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, pressed.set)
    await pressed.wait()


def _connected(session: RealtimeSession, started_us: int) -> Connected:
    welcome = session.welcome
    assert welcome is not None
    return Connected(
        url=session.url,
        session=welcome.session_id,
        input=_named(welcome.input),
        output=_named(welcome.output),
        connect_ms=(session.now_us() - started_us) / 1000,
        transport=session.transport,
    )


def _named(form: AudioFormat) -> str:
    return f"{form.codec}/{form.rate}"


async def _spoken(text: str, rate: int) -> Recording:
    """Speak a question at `rate`. Raises `SettingsError` or `AgentError` without flite."""
    voice = tts_flite.build(AssistantSettings.model_validate({}))
    pieces = [piece async for piece in voice.speak(text)]
    if not pieces:
        raise AgentError(f"flite said nothing for {text!r}")
    resampler = Resampler(pieces[0].rate, rate)
    pcm = resampler.process(b"".join(piece.pcm for piece in pieces)) + resampler.flush()
    return Recording(text, pcm, voice_end(pcm))


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[Child, int, ClientSettings]]:
    """Run `legato serve` with the assistant; gives it, its port and whom to trust."""
    port = free_port()
    with temporary_identity() as identity:
        command = serve_command(port, identity, "assistant")
        with child("the server", command) as server:
            await asyncio.to_thread(wait_for_port, server, port)
            settings = ClientSettings(certificate_hashes=(identity.sha256,))
            yield server, port, settings
