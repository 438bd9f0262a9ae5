"""The contracts of the four stages as tests: one `check_...` for each. Must not know any implementation.

`make` builds a fresh stage; the check closes it. `speech` is mono s16le at 16 kHz: a spoken sentence.
"""

import asyncio
import math
from array import array
from collections.abc import Callable
from contextlib import aclosing

from legato.agents.base import Speech, ToolSet
from legato.agents.stages.base import (
    HEARING_RATE,
    LanguageModel,
    Message,
    SpeechEvent,
    SpeechToText,
    TextToSpeech,
    VoiceActivity,
)
from legato.core.errors import AgentError

__all__ = ["check_language_model", "check_speech_to_text", "check_text_to_speech", "check_voice_activity"]

_SECOND = bytes(2 * HEARING_RATE)


def _level(pcm: bytes) -> float:
    samples = array("h", pcm)
    return math.sqrt(sum(value * value for value in samples) / max(1, len(samples)))


# Voice activity


async def check_voice_activity(make: Callable[[], VoiceActivity], speech: bytes) -> None:
    """Speech is found where it is, whatever the pieces; silence, hum and gaps are not speech."""
    activity = make()
    audio = _SECOND + speech + _SECOND + _SECOND + speech + _SECOND + _SECOND
    whole = activity.open()
    events = whole.feed(audio)
    _check_events(events, len(speech) // 2)
    assert not whole.speaking
    assert 0 <= len(audio) // 2 - whole.position < HEARING_RATE // 10

    detector, other = activity.open(), activity.open()
    found: list[SpeechEvent] = []
    place, size = 0, 1
    while place < len(audio):
        found += detector.feed(audio[place : place + size])
        assert other.feed(bytes(size)) == []
        place, size = place + size, size * 3 % 1999 + 1
    assert found == events, "the same audio in other pieces gives other events"

    hum = array(
        "h", (int(300 * math.sin(2 * math.pi * 50 * place / HEARING_RATE)) for place in range(32_000))
    )
    assert activity.open().feed(hum.tobytes()) == []

    gapped = activity.open()
    gapped.feed(_SECOND)
    assert gapped.skip(HEARING_RATE * 3_600) == []
    assert gapped.position == HEARING_RATE * 3_601
    assert [event.kind for event in gapped.feed(speech + _SECOND + _SECOND)][:1] == ["started"]
    await activity.close()
    await activity.close()


def _check_events(events: list[SpeechEvent], length: int) -> None:
    kinds = [event.kind for event in events]
    assert kinds == ["started", "stopped"] * (len(events) // 2), kinds
    positions = [event.position for event in events]
    assert positions == sorted(positions), positions
    second_begins = 3 * HEARING_RATE + length
    first = [event for event in events if event.position < 2 * HEARING_RATE + length]
    for part, begins in ((first, HEARING_RATE), (events[len(first) :], second_begins)):
        assert part, "speech was not found"
        assert begins - HEARING_RATE // 2 <= part[0].position <= begins + HEARING_RATE // 2
        assert begins + length // 2 <= part[-1].position <= begins + length + HEARING_RATE // 2


# Speech to text


async def check_speech_to_text(make: Callable[[], SpeechToText], speech: bytes, words: str) -> None:
    """`speech` says `words`; at least half of them must be understood."""
    recognition = make()
    unused = recognition.open()
    await unused.close()
    await unused.close()
    assert await _recognised(recognition, b"") == ""

    recogniser = recognition.open("someone")
    partials = []
    for start in range(0, len(speech), 6_400):
        partials.append(await recogniser.feed(speech[start : start + 6_400]))
    text = await recogniser.finish()
    await recogniser.close()
    await recogniser.close()
    wanted = set(words.split())
    assert len(wanted & set(text.lower().split())) * 2 >= len(wanted), text
    if recognition.capabilities.partials:
        assert any(partials), "nothing was understood while the person spoke"
    else:
        assert not any(partials)

    many = (recognition.capabilities.simultaneous or 3) + 2
    texts = await asyncio.gather(*(_recognised(recognition, speech) for _ in range(many)))
    assert all(len(wanted & set(found.lower().split())) * 2 >= len(wanted) for found in texts), texts

    await _check_giving_up(recognition, speech)
    last = recognition.open()
    await recognition.close()
    await recognition.close()
    try:
        await last.feed(speech)
        await last.finish()
    except AgentError:
        pass
    else:
        raise AssertionError("a closed stage recognises")
    await last.close()


async def _recognised(recognition: SpeechToText, speech: bytes) -> str:
    recogniser = recognition.open()
    try:
        if speech:
            await recogniser.feed(speech)
        return await recogniser.finish()
    finally:
        await recogniser.close()


async def _check_giving_up(recognition: SpeechToText, speech: bytes) -> None:
    """Whoever gives up in the middle leaves nothing occupied or out of step."""
    for _ in range(recognition.capabilities.simultaneous or 1):
        recogniser = recognition.open()
        feeding = asyncio.create_task(_fed(recogniser.feed(speech)))
        await asyncio.sleep(0)
        feeding.cancel()
        await asyncio.wait([feeding])
        await recogniser.close()
    assert await _recognised(recognition, speech)


async def _fed(feeding: object) -> None:
    await feeding  # type: ignore[misc]


# Language model


async def check_language_model(make: Callable[[], LanguageModel]) -> None:
    """It answers in text, several conversations at once, and may be stopped."""
    model = make()
    hello = [Message("system", "Be brief."), Message("user", "hello")]
    texts = await asyncio.gather(*(_answer(model, hello) for _ in range(5)))
    assert all(text.strip() for text in texts), texts
    assert await _answer(model, [*hello, Message("assistant", "Hello."), Message("user", "thank you")])

    async with aclosing(model.reply(hello, ToolSet())) as thoughts:
        assert await anext(thoughts)
    untouched = model.reply(hello, ToolSet())
    await untouched.aclose()
    await model.close()
    await model.close()


async def _answer(model: LanguageModel, messages: list[Message]) -> str:
    text = ""
    async for thought in model.reply(messages, ToolSet()):
        assert isinstance(thought, str), "no tools were offered"
        text += thought
    return text


# Text to speech


async def check_text_to_speech(make: Callable[[], TextToSpeech]) -> None:
    """It speaks, at one rate, with the text on the first piece, several texts at once, and may be stopped."""
    voice = make()
    short, long = await asyncio.gather(
        _spoken(voice, "Yes."), _spoken(voice, "This is a rather longer sentence, spoken at the same time.")
    )
    for pieces, text in (
        (short, "Yes."),
        (long, "This is a rather longer sentence, spoken at the same time."),
    ):
        assert [piece.text for piece in pieces] == [text] + [""] * (len(pieces) - 1)
        assert len({piece.rate for piece in pieces}) == 1
        assert _level(b"".join(piece.pcm for piece in pieces)) > 100, "silence instead of speech"
        assert all(len(piece.pcm) % 2 == 0 for piece in pieces)
    seconds = [sum(piece.samples for piece in pieces) / pieces[0].rate for pieces in (short, long)]
    assert 0.1 < seconds[0] < seconds[1] < 15, seconds

    for nothing in ("", "   ", "...", "\n"):
        assert await _spoken(voice, nothing) == []
    for odd in (
        "-voice awb; echo $HOME `id` \"quoted\" 'text' | cat",
        "Zażółć “gęślą” – 漢字 1 🙂",
        "a\x00b\x1b[0m",
    ):
        assert await _spoken(voice, odd)

    async with aclosing(voice.speak("One two three four five six seven eight nine ten.")) as pieces_of_ten:
        assert (await anext(pieces_of_ten)).text
    untouched = voice.speak("Never said.")
    await untouched.aclose()
    await voice.close()
    await voice.close()


async def _spoken(voice: TextToSpeech, text: str) -> list[Speech]:
    return [piece async for piece in voice.speak(text)]
