"""The contract of an agent as a test: `check_agent`. Must not know any agent."""

import asyncio
from collections.abc import Callable

from legato.agents.base import Agent
from legato.core.audio import AudioFormat
from legato.testing.call import MemoryCall

__all__ = ["check_agent"]

_TIDY_S = 10.0


async def check_agent(make: Callable[[], Agent], speech: bytes) -> None:
    """Whatever a call does, the agent ends with it and leaves nothing behind.

    `speech` is mono s16le at 16 kHz: a spoken sentence.
    """
    agent = make()
    before = asyncio.all_tasks()
    scenes = [_ends_at_once, _silence_and_gaps, _ends_in_mid_speech, _is_cancelled, _slow_caller]
    if getattr(agent, "takes_requests", False):
        scenes += [_is_asked, _ends_while_it_is_asked]
    for scene in scenes:
        call = MemoryCall(AudioFormat("pcm16", 16_000), plays=scene is not _slow_caller)
        await scene(agent, call, speech)
        left = asyncio.all_tasks() - before
        if left:  # a stage may still be tidying up
            _, left = await asyncio.wait(left, timeout=_TIDY_S)
        assert not left, f"{scene.__name__}: tasks are left behind: {left}"
        assert all(utterance.settled for utterance in call.utterances)
    close = getattr(agent, "close", None)
    if close is not None:
        await close()


async def _finished(agent: Agent, call: MemoryCall) -> None:
    """The agent's whole life, which ends with the call's audio."""
    async with asyncio.timeout(60):
        await agent(call)


async def _ends_at_once(agent: Agent, call: MemoryCall, _speech: bytes) -> None:
    call.end()
    await _finished(agent, call)


async def _silence_and_gaps(agent: Agent, call: MemoryCall, _speech: bytes) -> None:
    running = asyncio.create_task(_finished(agent, call))
    call.hear_pcm(bytes(64_000))
    call.lose(160)
    call.hear_pcm(bytes(3_000))
    call.lose(16_000 * 86_400)
    call.hear_pcm(bytes(32_000))
    call.receive({"type": "something.unknown", "field": 1})
    await call.heard_all()
    call.end()
    await running


async def _ends_in_mid_speech(agent: Agent, call: MemoryCall, speech: bytes) -> None:
    running = asyncio.create_task(_finished(agent, call))
    call.hear_pcm(bytes(16_000) + speech[: len(speech) // 4 * 2])
    await call.heard_all()
    call.end()
    await running


async def _is_cancelled(agent: Agent, call: MemoryCall, speech: bytes) -> None:
    running = asyncio.create_task(_finished(agent, call))
    call.hear_pcm(bytes(16_000) + speech + bytes(48_000))
    await call.heard_all()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled(), "an agent lets cancellation through"
    call.end()
    await call.until(lambda: not call.saying)


async def _slow_caller(agent: Agent, call: MemoryCall, speech: bytes) -> None:
    """The caller never plays what is said, interrupts, and leaves."""
    running = asyncio.create_task(_finished(agent, call))
    for _ in range(2):
        call.hear_pcm(bytes(16_000) + speech + bytes(48_000))
        await call.utterance()
    await call.heard_all()
    call.end()
    await running


_QUESTION = {
    "type": "conversation.item.create",
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
}


def _ask(call: MemoryCall) -> None:
    """A client's requests of every kind: in the conversation, beside it, cancelled, by its own commit."""
    call.receive(_QUESTION)
    call.receive({"type": "response.create"})
    call.receive({"type": "response.create", "response": {"conversation": "none", "input": []}})
    call.receive({"type": "response.cancel"})
    call.receive({"type": "input_audio_buffer.commit"})
    session = {"output_modalities": ["text"], "audio": {"input": {"turn_detection": None}}}
    call.receive({"type": "session.update", "session": {"type": "realtime", **session}})
    call.receive({"type": "response.create"})
    call.receive({"type": "input_audio_buffer.clear"})


async def _is_asked(agent: Agent, call: MemoryCall, speech: bytes) -> None:
    """Each response that was begun is ended; what the caller committed gets a transcript."""
    running = asyncio.create_task(_finished(agent, call))
    call.hear_pcm(speech)
    _ask(call)
    await call.until(lambda: len(call.sent_of("response.done")) == len(call.sent_of("response.created")) == 3)
    await call.until(lambda: _transcripts(call) == len(call.sent_of("input_audio_buffer.committed")))
    assert not call.sent_of("error"), call.sent_of("error")
    call.end()
    await running


async def _ends_while_it_is_asked(agent: Agent, call: MemoryCall, speech: bytes) -> None:
    running = asyncio.create_task(_finished(agent, call))
    call.hear_pcm(speech)
    _ask(call)
    call.end()
    await running


def _transcripts(call: MemoryCall) -> int:
    prefix = "conversation.item.input_audio_transcription"
    return sum(len(call.sent_of(f"{prefix}.{how}")) for how in ("completed", "failed"))
