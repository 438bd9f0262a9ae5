"""The whole assistant on a call in memory: real speech in, real speech out; then with model endpoints."""

import asyncio
import re
from contextlib import asynccontextmanager

import pytest
from tests.agents.scenes import failures

from legato.agents.assistant import build
from legato.agents.base import ToolCall
from legato.agents.settings import AssistantSettings
from legato.agents.stages.stt_pocketsphinx import build as build_recognition
from legato.agents.turns import NO_ANSWER, NOT_HEARD
from legato.audio.resample import Resampler
from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.dialects.realtime.turn_detection import ServerVad
from legato.testing.call import MemoryCall
from legato.testing.scripted_endpoint import Break, Hold, Refuse, ScriptedEndpoint

QUIET = bytes(2 * 16_000)
PREFIX = "conversation.item.input_audio_transcription"


@asynccontextmanager
async def talking(settings: AssistantSettings, session: dict | None = None, **call_options):
    """A call with an assistant on it."""
    agent = build(settings)
    opening = SessionSettings.of(defaults=agent.session).updated({"type": "realtime", **(session or {})})
    call = MemoryCall(settings=opening, **call_options)
    running = asyncio.create_task(agent(call))
    try:
        yield call
        assert not running.done()
    finally:
        call.end()
        await running
        await agent.close()


OFFLINE = AssistantSettings(stt_grammar="commands")


async def test_a_question_is_answered(speak) -> None:
    async with talking(OFFLINE) as call:
        call.hear_pcm(QUIET + speak("what is twelve times seven") + QUIET)
        answer = await call.utterance()
        await answer.finished
        assert answer.text == "That is 84."
        assert answer.made_ms > 700
        (started,), (stopped,), (heard,) = (
            call.sent_of(kind)
            for kind in (
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                f"{PREFIX}.completed",
            )
        )
        assert heard["transcript"] == "what is twelve times seven"
        assert 600 <= started["audio_start_ms"] <= 1_200
        assert 2_500 <= stopped["audio_end_ms"] <= 3_500
        assert started["item_id"] == stopped["item_id"] == heard["item_id"]
        deltas = "".join(event["delta"] for event in call.sent_of(f"{PREFIX}.delta"))
        assert deltas in ("", "what is twelve times seven")


async def test_the_answer_is_what_it_says(speak) -> None:
    """The synthesised answer, recognised again, has the words of the answer."""
    async with talking(OFFLINE) as call:
        call.hear_pcm(QUIET + speak("good morning", "awb") + QUIET)
        answer = await call.utterance()
        await answer.finished
    recognition = build_recognition(AssistantSettings())
    recogniser = recognition.open()
    await recogniser.feed(answer.pcm + QUIET)
    heard = set((await recogniser.finish()).split())
    await recogniser.close()
    await recognition.close()
    wanted = set(re.findall(r"[a-z]+", answer.text.lower()))
    assert len(wanted & heard) >= len(wanted) * 0.6, heard


async def test_barge_in_into_a_long_story(speak) -> None:
    async with talking(OFFLINE, plays=False) as call:
        call.hear_pcm(QUIET + speak("tell me a long story") + QUIET)
        story = await call.utterance()
        await call.until(lambda: story.made_ms > 4_000)
        call.play(4_000)
        call.hear_pcm(speak("what did you say") + QUIET)
        await story.finished
        assert story.interrupted
        assert 3_900 <= story.heard_ms <= 4_000
        answer = await call.utterance(2)
        await call.until(lambda: answer.complete)
        assert story.text.startswith(story.heard_text)
        assert answer.text == f"You heard me say: {story.heard_text}"


async def test_a_story_lasts_longer_than_twenty_seconds(speak) -> None:
    async with talking(OFFLINE) as call:
        call.hear_pcm(QUIET + speak("tell me a long story") + QUIET)
        story = await call.utterance()
        await story.finished
        assert story.made_ms > 20_000


async def test_a_timer_rings(speak, tmp_path) -> None:
    async with talking(OFFLINE) as call:
        call.hear_pcm(QUIET + speak("set a timer for one second", "awb") + QUIET)
        answer = await call.utterance()
        await answer.finished
        assert answer.text == "The timer is set for 1 second."
        ring = await call.utterance(2)
        await ring.finished
        assert ring.text == "Your timer for 1 second is up."


async def test_calls_share_the_recognisers(speak) -> None:
    settings = OFFLINE.model_copy(update={"stt_recognisers": 1})
    agent = build(settings)
    calls = [MemoryCall(AudioFormat("pcm16", 16_000)) for _ in range(4)]
    running = [asyncio.create_task(agent(call)) for call in calls]
    for call in calls:
        call.hear_pcm(QUIET + speak("hello") + QUIET)
    for call in calls:
        answer = await call.utterance()
        await answer.finished
        assert answer.text.startswith("Hello.")
    for call in calls:
        call.end()
    await asyncio.gather(*running)
    await agent.close()


async def test_a_greeting(speak) -> None:
    async with talking(OFFLINE.model_copy(update={"greeting": "Welcome. What may I do?"})) as call:
        greeting = await call.utterance()
        await greeting.finished
        assert greeting.text == "Welcome. What may I do?"


@pytest.fixture
async def endpoint():
    async with ScriptedEndpoint() as running:
        yield running


def online(endpoint: ScriptedEndpoint) -> AssistantSettings:
    url = endpoint.url
    return AssistantSettings(
        stt="openai",
        stt_url=url,
        llm="openai",
        llm_url=url,
        tts="openai",
        tts_url=url,
        instructions="Be brief.",
    )


async def test_three_endpoints_hold_a_conversation(endpoint, speak) -> None:
    hold = Hold()
    endpoint.transcripts += ["What is new?", "Thanks."]
    endpoint.answers += [["Not much. ", "All", " is ", hold, "well."], ["Welcome."]]
    async with talking(online(endpoint)) as call:
        call.hear_pcm(QUIET + speak("what is new") + QUIET)
        answer = await call.utterance()
        await call.until(lambda: answer.made_ms > 0)
        assert answer.text == "Not much.", "the first sentence is spoken before the answer is complete"
        hold.release()
        await answer.finished
        assert answer.text == "Not much. All is well."
        call.hear_pcm(QUIET + speak("thank you") + QUIET)
        await (await call.utterance(2)).finished
    assert [message["content"] for message in endpoint.chats[1]["messages"]] == [
        "Be brief.",
        "What is new?",
        "Not much. All is well.",
        "Thanks.",
    ]
    assert 2 * 16_000 * 0.5 < len(endpoint.heard[0]) < 2 * 16_000 * 2
    assert endpoint.spoken == ["Not much.", "All is well.", "Welcome."]


async def test_a_failing_endpoint_costs_one_answer_and_no_call(endpoint, speak) -> None:
    endpoint.transcripts += [Refuse(503), "one", "two", "three"]
    endpoint.answers += [["So far. ", "And", Break()], Refuse(401, "bad key"), ["Fine."]]
    said = QUIET + speak("hello") + QUIET
    async with talking(online(endpoint)) as call:
        call.hear_pcm(said)
        sorry = await call.utterance(1)
        await sorry.finished
        assert sorry.text == NOT_HEARD
        call.hear_pcm(said)
        answer, sorry = await call.utterance(2), await call.utterance(3)
        await sorry.finished
        assert (answer.text, sorry.text) == ("So far.", NO_ANSWER)
        call.hear_pcm(said)
        sorry = await call.utterance(5)
        await sorry.finished
        assert failures(call)[-1] == "the language model answers 401: bad key"
        assert not call.sent_of("error"), "the client made no mistake"
        call.hear_pcm(said)
        answer = await call.utterance(6)
        await answer.finished
        assert answer.text == "Fine."


async def test_speech_that_fails_in_mid_answer(endpoint, speak) -> None:
    endpoint.answers += [["A rather long sentence to begin with. ", "Lost."], ["Fine."]]
    endpoint.speeches += [Break(), "pcm", Refuse(500)]
    said = QUIET + speak("hello") + QUIET
    async with talking(online(endpoint)) as call:
        call.hear_pcm(said)
        await call.until(lambda: bool(failures(call)))
        await (await call.utterance(2)).finished
        call.hear_pcm(said)
        answer = await call.utterance(3)
        await answer.finished
        assert answer.text == "Fine."


async def test_a_call_that_ends_while_the_model_thinks(endpoint, speak) -> None:
    endpoint.answers.append([hold := Hold(), "too late"])
    async with talking(online(endpoint)) as call:
        call.hear_pcm(QUIET + speak("hello") + QUIET)
        await hold.reached.wait()
    hold.release()
    assert call.utterances[0].settled


async def test_the_caller_cancels_an_answer(endpoint, speak) -> None:
    endpoint.answers.append(["One moment. ", hold := Hold(), "too late"])
    async with talking(online(endpoint)) as call:
        call.hear_pcm(QUIET + speak("hello") + QUIET)
        answer = await call.utterance()
        await hold.reached.wait()
        call.receive({"type": "response.cancel"})
        await answer.finished
        assert answer.interrupted
        hold.release()


def turns(detection: dict | None) -> dict:
    return {"audio": {"input": {"turn_detection": detection}}}


@pytest.mark.parametrize(("rate", "silence_ms"), [(16_000, 200), (24_000, 500), (48_000, 730)])
async def test_the_end_of_speech_is_told_at_once(speak, rate: int, silence_ms: int) -> None:
    """At most one frame after the audio that completes the silence has been heard, whatever the rate."""
    said = Resampler(16_000, rate).process(QUIET + speak("stop", "awb") + QUIET)
    session = turns({"type": "server_vad", "silence_duration_ms": silence_ms})
    async with talking(OFFLINE, session, input_format=AudioFormat("pcm16", rate)) as call:
        for frame in range(0, len(said), 2 * rate // 50):
            call.hear_pcm(said[frame : frame + 2 * rate // 50])
            await call.heard_all()
            await asyncio.sleep(0)
            if stopped := call.sent_of("input_audio_buffer.speech_stopped"):
                assert 0 <= (frame + 2 * rate // 50) * 500 / rate - stopped[0]["audio_end_ms"] <= 20
                break
        else:
            raise AssertionError("the end was not found")


async def test_the_client_says_when_it_is_done(speak) -> None:
    """Without turn detection, in one burst: audio, commit, answer please."""
    async with talking(OFFLINE, turns(None)) as call:
        call.hear_pcm(speak("what is twelve times seven"))
        call.receive({"type": "input_audio_buffer.commit"})
        call.receive({"type": "response.create"})
        answer = await call.utterance()
        await answer.finished
        assert answer.text == "That is 84."
        assert not call.sent_of("input_audio_buffer.speech_started")
        call.hear_pcm(speak("hello"))
        call.receive({"type": "input_audio_buffer.clear"})
        call.hear_pcm(speak("stop") + QUIET)
        call.receive({"type": "input_audio_buffer.commit"})
        assert (await call.event(f"{PREFIX}.completed", 2))["transcript"] == "stop"


async def test_complete_words_need_less_silence_than_others(speak) -> None:
    said = QUIET + speak("what is twelve times seven") + bytes(2 * 16_000 * 4)
    ends = {}
    for detection in (
        {"type": "semantic_vad", "eagerness": "low"},
        {"type": "server_vad", "silence_duration_ms": 2_000},
    ):
        async with talking(OFFLINE, turns(detection)) as call:
            call.hear_pcm(said)
            stopped = await call.event("input_audio_buffer.speech_stopped")
            ends[detection["type"]] = stopped["audio_end_ms"]
            answer = await call.utterance()
            await answer.finished
            assert answer.text == "That is 84."
    assert ends["semantic_vad"] <= ends["server_vad"] - 1_000


async def test_a_function_of_the_client_is_called(endpoint, speak) -> None:
    weather = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
    endpoint.transcripts += ["What is the weather in Riga?"]
    endpoint.answers += [
        ["Let me see. ", ToolCall("c1", "get_weather", '{"city": "Riga"}')],
        ["It ", "rains."],
    ]
    async with talking(online(endpoint), {"tools": [weather]}) as call:
        call.hear_pcm(QUIET + speak("what is the weather in Riga") + QUIET)
        done = (await call.event("response.done"))["response"]
        assert [item["type"] for item in done["output"]] == ["message", "function_call"]
        assert done["usage"]["output_tokens"] > 0
        output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
        call.receive({"type": "conversation.item.create", "item": output})
        call.receive({"type": "response.create"})
        answer = await call.utterance(2)
        await answer.finished
        assert answer.text == "It rains."
    first, second = endpoint.chats
    assert first["tools"][0]["function"]["name"] == "get_weather"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][2]["content"] == "Let me see."


async def test_a_written_question_with_a_picture(endpoint) -> None:
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
    ]
    settings = online(endpoint).model_copy(update={"llm_images": True})
    async with talking(settings, {"output_modalities": ["text"]}) as call:
        item = {"type": "message", "role": "user", "content": content}
        call.receive({"type": "conversation.item.create", "item": item})
        call.receive({"type": "response.create"})
        await call.event("response.done")
    told = endpoint.chats[0]["messages"][1]["content"]
    assert [part["type"] for part in told] == ["text", "image_url"]


async def test_a_warm_assistant_has_its_recogniser() -> None:
    agent = build(OFFLINE)
    await agent.warm()
    assert agent._stages.recognition._idle
    await agent.close()


def test_a_session_begins_with_what_the_settings_say() -> None:
    settings = AssistantSettings(
        vad_threshold=0.4, silence_ms=700, prefix_ms=200, voice="slt", instructions="Be kind.", greeting="Hi."
    )
    opening = SessionSettings.of(defaults=build(settings).session)
    assert opening.turn_detection == ServerVad(threshold=0.4, silence_duration_ms=700, prefix_padding_ms=200)
    assert (opening.voice, opening.instructions) == ("slt", "Be kind.")
    assert SessionSettings.of(defaults=build(AssistantSettings()).session).voice == "default"
