import asyncio
import os

import pytest

from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import USUAL, Delivery
from legato.agents.stages.tts_flite import FliteTextToSpeech, build, list_voices
from legato.core.errors import AgentError, SettingsError


async def spoken(voice: FliteTextToSpeech, text: str, delivery: Delivery = USUAL):
    return [piece async for piece in voice.speak(text, delivery)]


def program(tmp_path, script: str) -> str:
    path = tmp_path / "flite"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def first_line(fifo) -> bytes:
    """What is written to a named pipe; waits for it without a thread."""
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
        return os.read(descriptor, 100)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_voices() -> None:
    voices = build(AssistantSettings()).capabilities.voices
    assert {"rms", "awb", "slt", "kal16"} <= set(voices)
    lengths = set()
    for name in ("rms", "slt"):
        voice = build(AssistantSettings(voice=name))
        lengths.add(sum(piece.samples for piece in await spoken(voice, "Hello there.")))
    assert len(lengths) == 2
    with pytest.raises(SettingsError, match=r"flite has no voice 'nobody'; it has: .*rms"):
        build(AssistantSettings(voice="nobody"))


async def test_each_text_may_have_a_voice_and_a_speed_of_its_own() -> None:
    flite = build(AssistantSettings())
    lengths = {}
    for delivery in (USUAL, Delivery("slt"), Delivery(speed=0.5), Delivery("marin")):
        lengths[delivery] = sum(piece.samples for piece in await spoken(flite, "Hello there.", delivery))
    assert lengths[Delivery("slt")] != lengths[USUAL]
    assert lengths[Delivery(speed=0.5)] > lengths[USUAL] * 1.6
    assert lengths[Delivery("marin")] == lengths[USUAL], "a voice that flite lacks is its own"


@pytest.mark.parametrize("voice", ["/etc/passwd", "http://127.0.0.1:9/voice.flitevox", "-o", "rms\n"])
async def test_a_caller_cannot_make_flite_load_a_voice(tmp_path, voice: str) -> None:
    log = tmp_path / "log"
    flite = FliteTextToSpeech(
        program(tmp_path, f'printf "%s\\n" "$@" > {log}; exit 1'), "kal", ("kal", "rms")
    )
    with pytest.raises(AgentError, match="status 1"):
        await spoken(flite, "Hello.", Delivery(voice, 1e9))
    assert log.read_text().splitlines()[:4] == ["-voice", "kal", "--setf", "duration_stretch=0.250"]


async def test_sound_begins_at_once() -> None:
    (first, *_) = await spoken(build(AssistantSettings()), "Hello there.")
    loud = [
        abs(int.from_bytes(first.pcm[place : place + 2], "little", signed=True))
        for place in range(0, 1_600, 2)
    ]
    assert max(loud) > 100


async def test_text_is_one_argument_whatever_it_looks_like(tmp_path) -> None:
    log = tmp_path / "log"
    voice = FliteTextToSpeech(program(tmp_path, f'printf "%s\\n" "$#" "$4" > {log}; exit 1'), "rms", ())
    with pytest.raises(AgentError, match="status 1"):
        await spoken(voice, "-voice “x”; $(touch /tmp/no) `id` \x1b é\n–ok")
    assert log.read_text() == '6\n-voice "x"; $(touch /tmp/no) `id` e , ok\n'


async def test_long_text_is_cut() -> None:
    pieces = await spoken(build(AssistantSettings(voice="kal")), "word " * 450)
    assert [piece.text for piece in pieces if piece.text] == ["word " * 450]
    assert sum(piece.samples for piece in pieces) / 8_000 > 60


async def test_failures(tmp_path) -> None:
    with pytest.raises(AgentError, match="flite not found: apt-get install flite"):
        await spoken(FliteTextToSpeech(str(tmp_path / "none"), "rms", ()), "a")
    silent = FliteTextToSpeech(program(tmp_path, "exit 0"), "rms", ())
    with pytest.raises(AgentError, match="no audio") as caught:
        await spoken(silent, "a")
    assert caught.value.retryable
    tmp_path.joinpath("flite").chmod(0o644)
    with pytest.raises(AgentError, match="cannot be started"):
        await spoken(silent, "a")
    with pytest.raises(SettingsError, match="cannot be run"):
        list_voices(str(tmp_path / "none"))
    closed = build(AssistantSettings())
    await closed.close()
    with pytest.raises(AgentError, match="closed"):
        await spoken(closed, "a")


async def test_a_process_that_hangs_is_killed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("legato.agents.stages.tts_flite._PATIENCE_S", 1.0)
    voice = FliteTextToSpeech(program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 100"), "rms", ())
    with pytest.raises(AgentError, match="too long"):
        await spoken(voice, "a")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_whoever_stops_listening_stops_the_process(tmp_path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    voice = FliteTextToSpeech(program(tmp_path, f"echo $$ > {started}; exec sleep 100"), "rms", ())
    speaking = asyncio.create_task(spoken(voice, "a"))
    number = int(await first_line(started))
    speaking.cancel()
    await asyncio.wait([speaking])
    assert speaking.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
