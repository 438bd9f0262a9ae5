import asyncio

from legato.agents.echo import echo
from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.testing.call import MemoryCall


async def test_frames_pass_through_untouched() -> None:
    call = MemoryCall(AudioFormat("opus", 16_000))
    frames = [
        AudioFrame.of(320 * place, place, bytes([0x48, place]), call.input_format) for place in range(5)
    ]
    call.hear(*frames[:3], AudioGap(960, 1_280), *frames[4:])
    running = asyncio.create_task(echo(call))
    utterance = await call.utterance()
    await call.until(lambda: len(utterance.audio) == 4)
    assert utterance.audio == [frame.payload for frame in (*frames[:3], frames[4])]
    call.end()
    await running


async def test_other_formats_are_converted_and_long_gaps_are_short() -> None:
    call = MemoryCall(AudioFormat("pcm16", 16_000), AudioFormat("pcm16", 48_000))
    running = asyncio.create_task(echo(call))
    call.hear_pcm(b"\x00\x11" * 1_600)
    call.lose(16_000 * 86_400)
    call.hear_pcm(b"\x00\x11" * 1_600)
    utterance = await call.utterance()
    await call.heard_all()
    call.end()
    await running
    assert 1_150 < utterance.made_ms <= 1_200


async def test_who_silences_it_is_echoed_again() -> None:
    call = MemoryCall(AudioFormat("opus", 16_000))
    frames = [
        AudioFrame.of(320 * place, place, bytes([0x48, place]), call.input_format) for place in range(4)
    ]
    running = asyncio.create_task(echo(call))
    call.hear(frames[0])
    first = await call.utterance()
    await call.until(lambda: len(first.audio) == 1)
    first.cancel()
    await first.finished
    call.hear(*frames[1:])
    second = await call.utterance(2)
    await call.until(lambda: len(second.audio) == 2)
    assert second.audio == [frame.payload for frame in frames[2:]]
    call.end()
    await running
