"""The contracts of the four stages as tests: one `check_...` for each. Must not know any implementation.

`make` builds a fresh stage; the check closes it. `speech` is mono s16le at 16 kHz: a spoken sentence.
"""

import asyncio
import json
import math
from array import array
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from legato.agents.base import Outcome, Speech, ToolCall
from legato.agents.stages.base import (
    HEARING_RATE,
    USUAL,
    Delivery,
    Detection,
    Hints,
    Image,
    LanguageModel,
    Message,
    ReplyOptions,
    SpeechEvent,
    SpeechToText,
    TextToSpeech,
    Thought,
    VoiceActivity,
)
from legato.core.errors import AgentError

__all__ = ["check_language_model", "check_speech_to_text", "check_text_to_speech", "check_voice_activity"]

_SECOND = bytes(2 * HEARING_RATE)
_PER_MS = HEARING_RATE // 1000
_FRAME = 20 * _PER_MS


def _level(pcm: bytes) -> float:
    samples = array("h", pcm)
    return math.sqrt(sum(value * value for value in samples) / max(1, len(samples)))


# Voice activity


async def check_voice_activity(make: Callable[[], VoiceActivity], speech: bytes) -> None:
    """Speech is found where it is, whatever the pieces; silence, hum and gaps are not speech."""
    activity = make()
    audio = _SECOND + speech + _SECOND + _SECOND + speech + _SECOND + _SECOND
    whole = activity.open(Detection())
    events = whole.feed(audio)
    _check_events(events, len(speech) // 2)
    assert not whole.speaking
    assert 0 <= len(audio) // 2 - whole.position < HEARING_RATE // 10

    detector, other = activity.open(Detection()), activity.open(Detection())
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
    assert activity.open(Detection()).feed(hum.tobytes()) == []

    gapped = activity.open(Detection())
    gapped.feed(_SECOND)
    assert gapped.skip(HEARING_RATE * 3_600) == []
    assert gapped.position == HEARING_RATE * 3_601
    assert [event.kind for event in gapped.feed(speech + _SECOND + _SECOND)][:1] == ["started"]
    for silence_ms in (200, 500, 730):
        _check_promptness(activity, Detection(silence_ms=silence_ms), speech)
    _check_settings(activity, speech)
    await activity.close()
    await activity.close()


def _check_promptness(activity: VoiceActivity, detection: Detection, speech: bytes) -> None:
    """The end is told at most one frame after the audio that completes the silence."""
    for lead in (0, 101, 333):
        detector = activity.open(detection)
        audio = _SECOND + bytes(2 * lead) + speech + 2 * _SECOND
        for place in range(0, len(audio), 2 * _FRAME):
            for event in detector.feed(audio[place : place + 2 * _FRAME]):
                due = event.position + detection.silence_ms * _PER_MS
                late = place // 2 + _FRAME - due
                assert event.kind == "started" or 0 <= late <= _FRAME, f"{late / _PER_MS} ms late"


def _check_settings(activity: VoiceActivity, speech: bytes) -> None:
    """Each call has its own settings, and they may be changed in the middle of it."""
    pause = bytes(2 * 300 * _PER_MS)
    audio = _SECOND + speech + pause + speech + pause + _SECOND
    patient = Detection(silence_ms=900)
    assert len(activity.open(patient).feed(audio)) == 2
    hasty = activity.open(Detection(silence_ms=200)).feed(audio)
    assert len(hasty) >= 4
    changed = activity.open(patient)
    assert changed.feed(_SECOND + speech)[0].kind == "started"
    changed.adjust(Detection(silence_ms=200))
    assert changed.feed(pause) == [event for event in hasty if event.kind == "stopped"][:1]

    narrow, wide = (activity.open(Detection(prefix_ms=ms)).feed(audio)[0] for ms in (0, 400))
    assert narrow.position - wide.position == 400 * _PER_MS
    assert activity.open(Detection(min_speech_ms=10_000)).feed(audio) == []
    for threshold in (0.0, 1.0):
        detector = activity.open(Detection(threshold))
        detector.feed(audio + 2 * _SECOND)
        assert not detector.speaking, "silence is no speech, whatever the threshold"


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
    await recognition.warm()
    unused = recognition.open()
    await unused.close()
    await unused.close()
    assert await _recognised(recognition, b"") == ""

    recogniser = recognition.open("someone", Hints("en", words))
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
    await recognition.warm()
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


@dataclass(frozen=True)
class _Lookup:
    """A tool as its user describes it."""

    name: str = "look_up"
    description: str = "Looks something up."
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"word": {"type": "string"}}}
    )


async def check_language_model(make: Callable[[], LanguageModel]) -> None:
    """It answers in text, several conversations at once, takes every kind of message and option, and may be
    stopped."""
    model = make()
    hello = [Message("system", "Be brief."), Message("user", "hello")]
    texts = await asyncio.gather(*(_answer(model, hello) for _ in range(5)))
    assert all(text.strip() for text in texts), texts
    assert await _answer(model, [*hello, Message("assistant", "Hello."), Message("user", "thank you")])
    assert await _answer(
        model,
        [
            Message("user", "what is this", images=(Image("data:image/png;base64,AAAA"),)),
            Message("assistant", "", tool_calls=(ToolCall("a", "look_up"), ToolCall("b", "look_up", "{}"))),
            Message("tool", "one", tool_call_id="a"),
            Message("tool", "two", tool_call_id="b"),
        ],
    )
    for options in (
        ReplyOptions("none"),
        ReplyOptions("required", parallel_tool_calls=False),
        ReplyOptions(tool_name="look_up", max_tokens=50),
    ):
        _check_thoughts([thought async for thought in model.reply(hello, [_Lookup()], options)])

    async with aclosing(model.reply(hello, [], ReplyOptions())) as thoughts:
        assert await anext(thoughts)
    untouched = model.reply(hello, [], ReplyOptions())
    await untouched.aclose()
    await model.close()
    await model.close()


async def _answer(model: LanguageModel, messages: list[Message]) -> str:
    thoughts = [thought async for thought in model.reply(messages, [], ReplyOptions())]
    _check_thoughts(thoughts)
    assert not any(isinstance(thought, ToolCall) for thought in thoughts), "no tools were offered"
    return "".join(thought for thought in thoughts if isinstance(thought, str))


def _check_thoughts(thoughts: list[Thought]) -> None:
    """The outcome is the last thing; the pieces of a call stand together and join to a JSON object."""
    assert thoughts, "neither words nor calls"
    assert not any(isinstance(thought, Outcome) for thought in thoughts[:-1])
    calls = [thought for thought in thoughts if isinstance(thought, ToolCall)]
    arguments: dict[str, str] = {}
    for before, call in zip([None, *calls], calls, strict=False):
        assert call.name == "look_up"
        assert call.id not in arguments or before is None or before.id == call.id, "calls are mixed"
        arguments[call.id] = arguments.get(call.id, "") + call.arguments
    assert all(isinstance(json.loads(text), dict) for text in arguments.values())


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

    usual, slow = await asyncio.gather(
        *(_spoken(voice, "Good morning.", Delivery("no such voice", speed)) for speed in (1.0, 0.5))
    )
    assert sum(piece.samples for piece in slow) > sum(piece.samples for piece in usual) * 1.3

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


async def _spoken(voice: TextToSpeech, text: str, delivery: Delivery = USUAL) -> list[Speech]:
    return [piece async for piece in voice.speak(text, delivery)]
