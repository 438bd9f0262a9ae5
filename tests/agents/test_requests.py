"""What a client asks of the assistant: responses, settings, functions of its own."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from tests.agents.scenes import TRANSCRIPTION, Scene

from legato.agents.base import Outcome, ToolCall
from legato.agents.composing import SILENT
from legato.agents.listener import Recognised, SpeechStopped
from legato.agents.stages.base import Delivery, Message, ReplyOptions
from legato.agents.turns import NO_ANSWER
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import AgentError

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TEXT = {"output_modalities": ["text"]}


@asynccontextmanager
async def conversation(session: dict | None = None, plays: bool = True, **settings):
    scene = Scene(plays=plays, session=session, **settings)
    await scene.settled()
    yield scene
    assert not scene.running.done()
    await scene.end()


def says(text: str) -> dict:
    content = [{"type": "input_text", "text": text}]
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content},
    }


def answers(call_id: str, output: str) -> dict:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


async def asked(scene: Scene, *events: dict, response: dict | None = None, done: int = 1) -> dict:
    """Send events and `response.create`; returns the response that is done then."""
    for event in (*events, {"type": "response.create", "response": response or {}}):
        scene.call.receive(event)
    return (await scene.call.event("response.done", done))["response"]


async def test_text_is_answered_in_text() -> None:
    async with conversation(TEXT) as scene:
        scene.model.script.append(["Hello ", "there."])
        response = await asked(scene, says("hello"))
        assert response["status"] == "completed"
        assert response["output"][0]["content"] == [{"type": "output_text", "text": "Hello there."}]
        assert [event["delta"] for event in scene.call.sent_of("response.output_text.delta")] == [
            "Hello ",
            "there.",
        ]
        assert scene.model.asked == [[("user", "hello")]]
        scene.model.script.append(["Bye."])
        await asked(scene, says("bye"), done=2)
        assert scene.model.asked[1] == [("user", "hello"), ("assistant", "Hello there."), ("user", "bye")]


async def test_text_is_answered_aloud() -> None:
    async with conversation() as scene:
        scene.model.script.append(["Hello. ", "How are you?"])
        response = await asked(scene, says("hello"))
        assert response["output"][0]["content"] == [
            {"type": "output_audio", "transcript": "Hello. How are you?"}
        ]
        assert len(scene.call.utterances[0].pcm) == 2 * 2 * 16_000


@pytest.mark.parametrize("understood", [True, False])
async def test_what_a_client_asks_for_answers_the_turn_before_it(understood: bool) -> None:
    async with conversation(plays=False) as scene:
        scene.model.script.append(["Five."])
        stretch, end = scene.begins(), scene.now
        scene.tell(SpeechStopped(stretch, end))
        if understood:
            scene.tell(Recognised(stretch, "two plus three", 1.0))
        scene.call.receive({"type": "response.create"})
        await scene.settled()
        if not understood:
            scene.tell(Recognised(stretch, "two plus three", 1.0))
        await scene.answer(1)
        scene.call.play(1_000)
        await scene.settled()
        assert scene.model.asked == [[("user", "two plus three")]]
        assert len(scene.call.sent_of("response.created")) == 1


async def test_instructions_are_those_of_the_response() -> None:
    async with conversation({"instructions": "Be kind."}) as scene:
        scene.model.script += [["One."], ["Two."]]
        await asked(scene, says("hello"))
        await asked(scene, response={"instructions": "Be brief."}, done=2)
        first, second = (messages[0] for messages in scene.model.messages)
        assert (first, second) == (Message("system", "Be kind."), Message("system", "Be brief."))


async def test_voice_and_speed_are_those_of_the_session() -> None:
    session = {"audio": {"output": {"voice": "slt", "speed": 1.25}}}
    async with conversation(session, greeting="Welcome.") as scene:
        await (await scene.answer(1)).finished
        scene.model.script.append(["Hello."])
        await asked(scene, says("hello"), done=2)
        assert scene.voice.deliveries == [Delivery("slt", 1.25)] * 2
    async with conversation(greeting="Welcome.") as scene:
        await scene.answer(1)
        assert scene.voice.deliveries == [Delivery()]


async def test_usage_is_what_the_model_says_or_words() -> None:
    async with conversation(TEXT) as scene:
        usage = Usage(input_text_tokens=7, cached_tokens=2, output_text_tokens=3)
        scene.model.script += [["Hi.", Outcome(usage=usage)], ["One two three."]]
        assert (await asked(scene, says("hello")))["usage"] == usage.as_json()
        told = (await asked(scene, says("and a one"), done=2))["usage"]
        assert (told["input_tokens"], told["output_tokens"]) == (5, 3)


async def test_an_answer_that_is_too_long_is_incomplete() -> None:
    async with conversation(TEXT) as scene:
        scene.model.script.append(["One two", Outcome("incomplete", "max_output_tokens")])
        response = await asked(scene, says("count"), response={"max_output_tokens": 2})
        assert scene.model.options == [ReplyOptions(max_tokens=2)]
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["output"][0]["status"] == "incomplete"


async def test_a_function_of_the_client_there_and_back() -> None:
    async with conversation({"tools": [WEATHER]}) as scene:
        scene.model.script += [
            [
                "Let me see. ",
                ToolCall("c1", "get_weather", '{"city"'),
                ToolCall("c1", "get_weather", ': "Riga"}'),
                " Wait.",
            ],
            ["It rains in Riga."],
        ]
        response = await asked(scene, says("weather in Riga?"))
        assert scene.model.tools[0] == ["get_weather", "set_timer", "cancel_timers"]
        message, call = response["output"]
        assert message["content"] == [{"type": "output_audio", "transcript": "Let me see."}]
        assert (call["name"], call["call_id"], call["arguments"]) == ("get_weather", "c1", '{"city": "Riga"}')
        deltas = [event["delta"] for event in scene.call.sent_of("response.function_call_arguments.delta")]
        assert deltas == ['{"city"', ': "Riga"}']

        response = await asked(scene, answers("c1", "rain"), done=2)
        assert response["output"][0]["content"][0]["transcript"] == "It rains in Riga."
        assert scene.model.messages[1] == [
            Message("user", "weather in Riga?"),
            Message(
                "assistant",
                "Let me see.",
                tool_calls=(ToolCall("c1", "get_weather", '{"city": "Riga"}'),),
            ),
            Message("tool", "rain", tool_call_id="c1"),
        ]


async def test_several_functions_at_once_and_one_that_runs_here() -> None:
    async with conversation({"tools": [WEATHER], **TEXT}) as scene:
        scene.model.script += [
            [
                ToolCall("c1", "get_weather", '{"city": "Riga"}'),
                ToolCall("t1", "set_timer", '{"seconds": 60}'),
                ToolCall("c2", "get_weather", '{"city": "Oslo"}'),
            ],
            ["Rain, and sun. The timer runs."],
        ]
        response = await asked(scene, says("both, and a timer"))
        assert [item["call_id"] for item in response["output"]] == ["c1", "c2"]
        await asked(scene, answers("c2", "sun"), answers("c1", "rain"), done=2)
        assert [(message.tool_call_id, message.content) for message in scene.model.messages[1][2:]] == [
            ("c1", "rain"),
            ("t1", "The timer is set for 1 minute."),
            ("c2", "sun"),
        ]


async def test_a_function_that_never_answers_does_not_end_the_conversation() -> None:
    async with conversation({"tools": [WEATHER], **TEXT}) as scene:
        scene.model.script += [[ToolCall("c1", "get_weather", "{}")], ["Never mind."]]
        await asked(scene, says("weather?"))
        await asked(scene, says("forget it"), done=2)
        assert [message.role for message in scene.model.messages[1]] == ["user", "assistant", "tool", "user"]


@pytest.mark.parametrize(
    ("choice", "offered", "option"),
    [
        ("auto", ["get_weather", "set_timer", "cancel_timers"], ReplyOptions()),
        ("none", ["get_weather"], ReplyOptions("none")),
        ("required", ["get_weather"], ReplyOptions("required")),
        ({"type": "function", "name": "get_weather"}, ["get_weather"], ReplyOptions(tool_name="get_weather")),
    ],
)
async def test_the_choice_of_tools(choice, offered: list[str], option: ReplyOptions) -> None:
    async with conversation(TEXT) as scene:
        scene.model.script.append(["Hm."])
        await asked(scene, says("hello"), response={"tools": [WEATHER], "tool_choice": choice})
        assert scene.model.tools == [offered]
        assert scene.model.options == [option]


async def test_a_function_of_the_client_replaces_one_of_the_same_name() -> None:
    timer = {**WEATHER, "name": "set_timer"}
    async with conversation({"tools": [timer], "parallel_tool_calls": False, **TEXT}) as scene:
        scene.model.script.append([ToolCall("c1", "set_timer", '{"seconds": 1}')])
        response = await asked(scene, says("set a timer"))
        assert scene.model.tools == [["set_timer", "cancel_timers"]]
        assert scene.model.options == [ReplyOptions(parallel_tool_calls=False)]
        assert response["output"][0]["name"] == "set_timer"


async def test_the_limit_counts_for_all_rounds() -> None:
    async with conversation(TEXT) as scene:
        scene.model.script += [["One two ", ToolCall("t", "cancel_timers")], ["three four"]]
        scene.model.script += [["One two ", ToolCall("t", "cancel_timers")]]
        await asked(scene, says("go"), response={"max_output_tokens": 9})
        assert [options.max_tokens for options in scene.model.options] == [9, 6]
        response = await asked(scene, says("go"), response={"max_output_tokens": 3}, done=2)
        assert response["status"] == "incomplete"
        assert response["usage"]["output_tokens"] == 3
        assert not scene.model.script


async def test_out_of_band_responses_stand_beside_the_conversation() -> None:
    async with conversation(TEXT) as scene:
        scene.model.script += [[gate := asyncio.Event(), "Slow."], ["joke"]]
        scene.call.receive(says("tell me a joke"))
        scene.call.receive({"type": "response.create"})
        await scene.settled()
        topic = {
            "conversation": "none",
            "metadata": {"topic": "kind"},
            "input": [says("what is it?")["item"]],
        }
        aside = await asked(scene, response=topic)
        assert aside["metadata"] == {"topic": "kind"}
        assert aside["output"][0]["content"][0]["text"] == "joke"
        assert scene.model.asked[1] == [("user", "what is it?")]
        gate.set()
        await scene.call.event("response.done", 2)
        scene.model.script.append(["Fine."])
        await asked(scene, done=3)
        assert scene.model.asked[2] == [("user", "tell me a joke"), ("assistant", "Slow.")]


async def test_a_failure_is_told_in_the_form_of_the_session() -> None:
    """Who reads needs no spoken apology; who listens gets one."""
    async with conversation(TEXT) as scene:
        scene.model.script.append(["So ", AgentError("gone")])
        response = await asked(scene, says("hello"))
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["message"] == "gone"
        await scene.settled()
        assert len(scene.call.utterances) == 1
    async with conversation() as scene:
        scene.model.script.append([AgentError("gone")])
        await asked(scene, says("hello"))
        assert (await scene.answer(2)).text == NO_ANSWER


async def test_a_greeting_is_written_where_nobody_listens() -> None:
    async with conversation(TEXT, greeting="Welcome.") as scene:
        response = (await scene.call.event("response.done"))["response"]
        assert response["output"][0]["content"] == [{"type": "output_text", "text": "Welcome."}]


async def test_a_transcription_session_is_never_answered() -> None:
    async with conversation({"type": "transcription"}, greeting="Welcome.") as scene:
        await scene.say("good day")
        await scene.say("", AgentError("deaf"))
        assert [event["transcript"] for event in scene.call.sent_of(f"{TRANSCRIPTION}.completed")] == [
            "good day"
        ]
        assert scene.call.sent_of(f"{TRANSCRIPTION}.failed")[0]["error"]["message"] == "deaf"
        assert not scene.call.utterances
        assert not scene.call.sent_of("response.created")
        assert not scene.call.sent_of("error")


def server_vad(**fields) -> dict:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", **fields}}}}


async def test_without_create_response_the_client_asks() -> None:
    async with conversation(server_vad(create_response=False)) as scene:
        await scene.say("hello")
        assert not scene.model.asked
        scene.model.script.append(["Hello."])
        await asked(scene)
        assert scene.model.asked == [[("user", "hello")]]


async def test_without_interrupt_response_the_answer_goes_on() -> None:
    async with conversation(server_vad(interrupt_response=False), plays=False) as scene:
        scene.model.script += [["Apples bounce. Cats dance."], ["And so on."]]
        await scene.say("tell me")
        first = await scene.answer(1)
        await scene.say("and then")
        assert not first.interrupted
        second = await scene.answer(2)
        assert scene.model.asked[1] == [
            ("user", "tell me"),
            ("assistant", "Apples bounce. Cats dance."),
            ("user", "and then"),
        ]
        scene.call.play(3_000)
        await second.finished
        assert not second.interrupted


async def test_a_turn_that_ends_while_another_response_is_written_waits_for_it() -> None:
    async with conversation(server_vad(interrupt_response=False)) as scene:
        scene.model.script += [["One. ", gate := asyncio.Event(), "Two."], ["Three."]]
        await scene.say("first")
        await scene.say("second")
        assert len(scene.model.asked) == 1
        gate.set()
        assert (await scene.answer(2)).text == "Three."
        assert len(scene.model.asked) == 2


async def test_silence_is_broken_after_a_while() -> None:
    async with conversation(server_vad(idle_timeout_ms=1_000)) as scene:
        scene.model.script += [["Hello."], ["Are you still there?"]]
        await scene.say("hello")
        await (await scene.answer(1)).finished
        await scene.call.event("input_audio_buffer.timeout_triggered")
        assert (await scene.answer(2)).text == "Are you still there?"
        assert scene.model.messages[1][-1] == Message("system", SILENT)


async def test_settings_change_in_mid_call() -> None:
    async with conversation() as scene:
        scene.call.receive(
            {"type": "session.update", "session": {"type": "realtime", **TEXT, "instructions": "Read."}}
        )
        await scene.call.event("session.updated")
        scene.model.script.append(["Hello."])
        await scene.say("hello")
        done = await scene.call.event("response.done")
        assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hello."}]
        assert scene.model.messages[0][0] == Message("system", "Read.")


async def test_the_response_waits_for_what_is_still_being_understood() -> None:
    off = {"audio": {"input": {"turn_detection": None}}}
    async with conversation({**off, **TEXT}) as scene:
        stretch = scene.begins()
        scene.call.hear_pcm(bytes(32_000))
        scene.call.receive({"type": "input_audio_buffer.commit"})
        scene.call.receive({"type": "response.create"})
        await scene.settled()
        assert not scene.model.asked
        scene.model.script.append(["Hello."])
        scene.ends(stretch, "good day")
        await scene.call.event("response.done")
        assert scene.model.asked == [[("user", "good day")]]


async def test_a_cancelled_response_stops_the_model_and_leaves_the_next_alone() -> None:
    async with conversation(TEXT) as scene:
        scene.model.script += [["One ", asyncio.Event()], ["Two."]]
        scene.call.receive(says("hello"))
        scene.call.receive({"type": "response.create"})
        await scene.call.event("response.output_text.delta")
        scene.call.receive({"type": "response.cancel"})
        done = await scene.call.event("response.done")
        assert done["response"]["status"] == "cancelled"
        await scene.settled()
        assert scene.model.stopped == 1
        assert (await asked(scene, done=2))["status"] == "completed"
        json.dumps(scene.call.sent)


async def test_a_timer_rings_in_writing_once_the_pen_is_free(monkeypatch) -> None:
    up = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        await up.wait()

    async with conversation(TEXT) as scene:
        monkeypatch.setattr(scene.turns._timers, "_sleep", sleep)
        scene.model.script += [[ToolCall("t", "set_timer", '{"seconds": 5}')], ["It runs."]]
        await asked(scene, says("set a timer"))
        scene.model.script.append(["Once ", gate := asyncio.Event(), "upon a time."])
        scene.call.receive(says("a story"))
        scene.call.receive({"type": "response.create"})
        await scene.settled()
        up.set()
        await scene.settled()
        assert len(scene.call.utterances) == 2
        gate.set()
        ring = (await scene.call.event("response.done", 3))["response"]
        assert ring["output"][0]["content"][0]["text"] == "Your timer for 5 seconds is up."


async def test_whoever_goes_on_while_their_answer_waits_is_answered_once() -> None:
    async with conversation(server_vad(interrupt_response=False)) as scene:
        scene.model.script += [["One. ", gate := asyncio.Event(), "Two."], ["All."]]
        await scene.say("first")
        await scene.say("second")
        stretch = scene.begins()
        gate.set()
        await (await scene.answer(1)).finished
        await scene.settled()
        assert len(scene.model.asked) == 1
        scene.ends(stretch, "third")
        assert (await scene.answer(2)).text == "All."
        await scene.settled()
        assert [said for said in scene.model.asked[1] if said[0] == "user"] == [
            ("user", "first"),
            ("user", "second"),
            ("user", "third"),
        ]
        assert len(scene.model.asked) == 2


async def test_two_turns_that_wait_for_the_same_answer_are_answered_once() -> None:
    async with conversation(server_vad(interrupt_response=False)) as scene:
        scene.model.script += [["One. ", gate := asyncio.Event(), "Two."], ["All."], ["Once more."]]
        await scene.say("first")
        await scene.say("second")
        await scene.say("third")
        gate.set()
        assert (await scene.answer(2)).text == "All."
        await (await scene.answer(2)).finished
        await scene.say("")  # a noise
        assert len(scene.model.asked) == 2
