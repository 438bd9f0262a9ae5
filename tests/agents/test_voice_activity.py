"""Silero on real speech: where it starts, where it ends, what is not speech."""

import random
import struct
from itertools import pairwise

import pytest

from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import Detection
from legato.agents.stages.vad_silero import build

MS = 16
QUIET = bytes(2 * 16_000)


def noise(samples: int, level: int) -> bytes:
    source = random.Random(7)
    return struct.pack(f"<{samples}h", *(int(source.gauss(0, level)) for _ in range(samples)))


@pytest.mark.parametrize("voice", ["rms", "awb", "slt", "kal16"])
async def test_speech_is_found_with_its_padding(speak, voice: str) -> None:
    activity = build(AssistantSettings())
    detector = activity.open(Detection())
    speech = speak("please turn on the light", voice)
    assert detector.feed(QUIET + speech[: len(speech) // 2])[0].kind == "started"
    assert detector.speaking
    detector.feed(speech[len(speech) // 2 :])
    (stopped,) = detector.feed(QUIET)
    end = 16_000 + len(speech) // 2
    assert end - 400 * MS <= stopped.position <= end + 64 * MS
    await activity.close()


async def test_people_are_found_too(recordings) -> None:
    activity = build(AssistantSettings())
    for words, recording in recordings.items():
        events = activity.open(Detection()).feed(QUIET + recording + QUIET)
        assert [event.kind for event in events] == ["started", "stopped"], words
    await activity.close()


async def test_steady_noise_is_no_speech(recordings) -> None:
    activity = build(AssistantSettings())
    for level in (3, 100, 1_000, 6_000):
        assert activity.open(Detection()).feed(noise(32_000, level)) == []
    await activity.close()


async def test_short_silence_does_not_end_speech_and_the_setting_decides(speak) -> None:
    speech = speak("hello there")
    audio = QUIET + speech + bytes(2 * 300 * MS) + speech + QUIET + QUIET
    kinds = []
    for silence_ms in (1_500, 200):
        activity = build(AssistantSettings())
        kinds.append([event.kind for event in activity.open(Detection(silence_ms=silence_ms)).feed(audio)])
        await activity.close()
    assert kinds == [["started", "stopped"], ["started", "stopped"] * 2]


async def test_sounds_shorter_than_the_least_are_no_speech(speak) -> None:
    activity = build(AssistantSettings())
    assert activity.open(Detection(min_speech_ms=5_000)).feed(QUIET + speak("hello there") + QUIET) == []
    await activity.close()


async def test_padding_never_reaches_into_what_was_already_heard(speak) -> None:
    activity = build(AssistantSettings())
    speech = speak("hello there")
    events = activity.open(Detection(prefix_ms=5_000, silence_ms=64)).feed(speech + QUIET + speech + QUIET)
    assert events[0].position == 0
    for before, after in pairwise(events):
        assert before.position <= after.position
    await activity.close()


async def test_the_end_is_where_the_sound_ends(speak) -> None:
    """The silence counts from the last sound, not from the window behind it."""
    activity = build(AssistantSettings())
    tone = speak("hello there")[: 2 * 16_000 // 2]
    detector = activity.open(Detection(silence_ms=100))
    for end in range(7_000, 7_512, 64):
        detector = activity.open(Detection(silence_ms=100))
        events = detector.feed(tone[: 2 * end] + QUIET)
        stops = [event.position for event in events if event.kind == "stopped"]
        assert stops
        assert end - 700 <= stops[-1] <= end
    await activity.close()


async def test_a_doubt_inside_a_window_leaves_the_word_to_the_windows(speak) -> None:
    """The next word begins just before the silence is complete: speech goes on, in whatever pieces."""
    activity = build(AssistantSettings())
    speech = speak("please turn on the light")
    found = []
    for pause in range(0, 300, 7):
        audio = QUIET + speech + bytes(2 * pause * MS) + speech + QUIET
        whole = activity.open(Detection(silence_ms=400)).feed(audio)
        pieces = activity.open(Detection(silence_ms=400))
        assert [e for at in range(0, len(audio), 998) for e in pieces.feed(audio[at : at + 998])] == whole
        found.append(len(whole))
    assert min(found) == 2
    assert max(found) == 4
    await activity.close()
