"""pocketsphinx on real speech, and its pool when things go wrong."""

import asyncio

import pytest

from legato.agents.settings import AssistantSettings
from legato.agents.stages import stt_pocketsphinx
from legato.agents.stages.base import Detection, Hints
from legato.agents.stages.stt_pocketsphinx import build
from legato.agents.stages.vad_silero import build as build_activity
from legato.core.errors import AgentError, SettingsError

QUIET = bytes(2 * 16_000)
SENTENCES = [
    "what is twelve times seven",
    "tell me a long story",
    "the weather is nice this morning",
]
COMMANDS = [
    "hello",
    "what is one hundred and five minus twenty three",
    "set a timer for ten seconds",
    "what did you say",
    "stop",
]


def errors(expected: str, heard: str) -> int:
    """Words that must be changed, added or removed."""
    wanted, found = expected.split(), heard.split()
    row = list(range(len(found) + 1))
    for place, word in enumerate(wanted, 1):
        before, row[0] = row[0], place
        for other, said in enumerate(found, 1):
            before, row[other] = row[other], min(before + (word != said), row[other] + 1, row[other - 1] + 1)
    return row[-1]


def spoken_parts(activity, audio: bytes) -> list[bytes]:
    """What voice activity takes for speech, with 160 ms behind it."""
    events = activity.open(Detection()).feed(QUIET + audio + QUIET)
    whole = QUIET + audio + QUIET
    bounds = [event.position for event in events]
    return [
        whole[2 * start : 2 * stop + 5_120] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)
    ]


async def recognised(recognition, pcm: bytes, caller: str = "") -> str:
    recogniser = recognition.open(caller)
    try:
        for start in range(0, len(pcm), 1_280):
            await recogniser.feed(pcm[start : start + 1_280])
        return await recogniser.finish()
    finally:
        await recogniser.close()


async def word_errors(
    settings: AssistantSettings, speak, sentences: list[str], voices: tuple[str, ...]
) -> float:
    activity, recognition = build_activity(settings), build(settings)

    async def of_voice(voice: str) -> int:
        wrong = 0
        for sentence in sentences:
            parts = spoken_parts(activity, speak(sentence, voice))
            wrong += errors(
                sentence, " ".join([await recognised(recognition, part, voice) for part in parts])
            )
        return wrong

    wrong = sum(await asyncio.gather(*map(of_voice, voices)))
    await asyncio.gather(activity.close(), recognition.close())
    return wrong / (len(voices) * sum(len(sentence.split()) for sentence in sentences))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_any_english_is_understood_well_enough(speak) -> None:
    assert await word_errors(AssistantSettings(), speak, SENTENCES, ("rms", "awb")) <= 0.15


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_commands_are_understood_exactly(speak) -> None:
    settings = AssistantSettings(stt_grammar="commands")
    assert await word_errors(settings, speak, COMMANDS, ("rms", "awb", "slt", "kal16")) <= 0.03


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_people_get_a_transcript(recordings) -> None:
    recognition = build(AssistantSettings())
    chosen = {
        words: recordings[words] for words in ("front center", "front right", "side left", "side right")
    }
    texts = await asyncio.gather(*(recognised(recognition, part) for part in chosen.values()))
    assert all(texts), texts
    wrong = sum(errors(words, text) for words, text in zip(chosen, texts, strict=True))
    assert wrong <= len(chosen) * 2 * 0.6, dict(zip(chosen, texts, strict=True))
    await recognition.close()


async def test_the_loop_serves_others_while_speech_is_decoded(speak) -> None:
    """pocketsphinx holds Python's lock for as long as it computes; in a process of its own that harms
    nobody."""
    recognition = build(AssistantSettings(stt_grammar="commands"))
    await recognised(recognition, speak("hello"))
    loop = asyncio.get_running_loop()
    decoding = asyncio.create_task(
        recognised(recognition, speak("what is one hundred and five minus twenty three") * 3)
    )
    turns, began = 0, loop.time()
    while not decoding.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns / (loop.time() - began) > 200
    await recognition.close()


async def test_recognisers_wait_their_turn_in_order(speak) -> None:
    recognition = build(AssistantSettings(stt_grammar="commands", stt_recognisers=1))
    done = []

    async def one(name: int) -> None:
        await recognised(recognition, speak("hello"))
        done.append(name)

    await asyncio.gather(*map(one, range(6)))
    assert done == list(range(6))
    await recognition.close()


async def test_a_decoder_that_dies_fails_one_request_and_is_replaced(speak) -> None:
    recognition = build(AssistantSettings(stt_grammar="commands", stt_recognisers=1))
    recogniser = recognition.open()
    await recogniser.feed(speak("hello"))
    (decoder,) = recognition._running
    await decoder._program.kill()
    with pytest.raises(AgentError, match="has stopped") as caught:
        for _ in range(100):
            await recogniser.feed(speak("hello"))
    assert caught.value.retryable
    await recogniser.close()
    assert await recognised(recognition, speak("hello")) == "hello"
    await recognition.close()


async def test_a_decoder_that_died_while_nobody_needed_it_fails_nobody(speak) -> None:
    recognition = build(AssistantSettings(stt_grammar="commands", stt_recognisers=1))
    assert await recognised(recognition, speak("hello")) == "hello"
    (decoder,) = recognition._running
    await decoder._program.kill()
    assert await recognised(recognition, speak("stop")) == "stop"
    assert decoder not in recognition._running
    await recognition.close()


async def test_whoever_stops_in_mid_word_keeps_nobody_waiting_and_may_go_on(speak, monkeypatch) -> None:
    """Their connection may be lost, or their microphone be muted, for as long as the call lasts."""
    monkeypatch.setattr(stt_pocketsphinx, "_IDLE_S", 0.05)
    recognition = build(AssistantSettings(stt_grammar="commands", stt_recognisers=1))
    pcm = speak("what is one hundred and five minus twenty three")
    cut_off, half = recognition.open(), len(pcm) // 4 * 2
    await cut_off.feed(pcm[:half])
    assert await recognised(recognition, speak("hello")) == "hello"
    await cut_off.feed(pcm[half:])
    assert await cut_off.finish() == "what is one hundred and five minus twenty three"
    await cut_off.close()
    assert await recognised(recognition, speak("stop")) == "stop"
    await recognition.close()


async def test_an_unexpected_failure_to_start_keeps_no_place(speak, monkeypatch) -> None:
    recognition = build(AssistantSettings(stt_grammar="commands", stt_recognisers=1))
    with monkeypatch.context() as broken:

        async def no_threads(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        broken.setattr(stt_pocketsphinx.programs, "start_with_pipe", no_threads)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="new thread"):
                await recognised(recognition, QUIET)
    assert await recognised(recognition, speak("hello")) == "hello"
    await recognition.close()


async def test_what_is_learnt_of_callers_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(stt_pocketsphinx, "_MOST_CALLERS", 2)
    recognition = build(AssistantSettings(stt_grammar="commands"))
    for caller in ("a", "b", "a", "c"):
        recognition.learn(caller, caller)
    assert [recognition.means(caller) == caller for caller in "abc"] == [True, False, True]
    await recognition.close()


async def test_grammars_that_are_none(tmp_path) -> None:
    with pytest.raises(SettingsError, match="there is no grammar"):
        build(AssistantSettings(stt_grammar="nonsense"))
    bad = tmp_path / "bad.gram"
    bad.write_text("this is no grammar")
    with pytest.raises(SettingsError, match="is no grammar; one begins with #JSGF"):
        build(AssistantSettings(stt_grammar=str(bad)))
    bad.write_text("#JSGF V1.0;\ngrammar bad;\npublic <a> = xyzzyplugh;\n")
    recognition = build(AssistantSettings(stt_grammar=str(bad)))
    with pytest.raises(AgentError, match=r"pocketsphinx cannot work with .*bad.gram"):
        await recognised(recognition, QUIET)
    await recognition.close()


async def test_a_worker_that_cannot_be_started(monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    recognition = build(AssistantSettings())
    with pytest.raises(AgentError, match="cannot be started"):
        await recognised(recognition, QUIET)
    with pytest.raises(AgentError, match="cannot be started"):
        await recognised(recognition, QUIET)
    await recognition.close()


async def test_a_decoder_that_hangs_is_given_up(monkeypatch, tmp_path) -> None:
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        "import sys\nsys.stdout.buffer.write(b'.\\0\\0\\0\\0')\nsys.stdout.flush()\nsys.stdin.read()\n"
    )
    monkeypatch.setattr(stt_pocketsphinx, "_WORKER", hangs)
    monkeypatch.setattr(stt_pocketsphinx, "_PATIENCE_S", 0.5)
    recognition = build(AssistantSettings(stt_recognisers=1))
    for _ in range(2):
        with pytest.raises(AgentError, match="has stopped"):
            await recognised(recognition, QUIET)
    await recognition.close()


async def test_a_warm_stage_has_a_decoder_waiting(speak) -> None:
    recognition = build(AssistantSettings(stt_grammar="commands"))
    warming = asyncio.gather(recognition.warm(), recognition.warm())
    await asyncio.sleep(0)
    given_up = asyncio.create_task(recognised(recognition, QUIET))
    heard = asyncio.create_task(recognised(recognition, speak("stop")))
    await asyncio.sleep(0)
    given_up.cancel()
    await warming
    assert await heard == "stop"
    running = set(recognition._running)
    assert len(running) == 1, "whoever came meanwhile waited for it"
    assert set(recognition._idle) == running
    await recognition.warm()
    assert recognition._running == running
    assert await recognised(recognition, speak("hello")) == "hello"
    assert recognition._running == running
    await recognition.close()


async def test_warming_what_cannot_work_raises_nothing(tmp_path) -> None:
    grammar = tmp_path / "broken.gram"
    grammar.write_text("#JSGF V1.0; nonsense")
    recognition = build(AssistantSettings(stt_grammar=str(grammar)))
    await recognition.warm()
    with pytest.raises(AgentError):
        await recognised(recognition, QUIET)
    await recognition.close()


async def test_a_language_it_does_not_understand() -> None:
    recognition = build(AssistantSettings(stt_grammar="commands"))
    german = recognition.open(hints=Hints("de"))
    with pytest.raises(AgentError, match="understands English only, not 'de'"):
        await german.feed(QUIET)
    await german.close()
    english = recognition.open(hints=Hints("en-GB", "stop"))
    await english.feed(QUIET)
    await english.close()
    await recognition.close()
