"""Scenes about the items of a conversation: made, found, deleted; functions called; answers beside it."""

import base64
import json

from tests.interop.realtime.calling import TEXT, ask, calling, message
from tests.interop.realtime.recording import Recording
from tests.interop.realtime.speech import spoken
from tests.interop.realtime.stage import Stage

from legato.agents.base import ToolCall

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def items(stage: Stage) -> Recording:
    """Made at the end and at the front, shown, and taken out: the model sees what is left, in order."""
    stage.script(["Yes."])
    async with calling(stage, TEXT) as talk:
        conversation = talk.connection.conversation
        for name, previous in (("one", None), ("two", None), ("zero", "root")):
            place = {} if previous is None else {"previous_item_id": previous}
            await conversation.item.create(item={**message(name), "id": name}, **place)
            await talk.until("conversation.item.done")
        await conversation.item.retrieve(item_id="zero")
        shown = (await talk.until("conversation.item.retrieved")).item
        await conversation.item.delete(item_id="one")
        deleted = await talk.until("conversation.item.deleted")
        await talk.connection.response.create()
        await talk.until("response.done")
    assert shown.content[0].text == "zero"
    assert deleted.item_id == "one"
    assert [one["previous_item_id"] for one in talk.of("conversation.item.added")] == [
        None,
        "one",
        None,
        "two",
    ]
    assert [one["content"] for one in stage.chats[0]["messages"][1:]] == ["zero", "two"]
    talk.check()
    return talk


async def spoken_item(stage: Stage) -> Recording:
    """Audio in an item, without any input buffer, is heard too."""
    stage.script(["Four."])
    audio = base64.b64encode(spoken("what is two plus two")).decode()
    content = [{"type": "input_audio", "audio": audio}]
    async with calling(stage, TEXT) as talk:
        await talk.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )
        await talk.connection.response.create()
        await talk.until("response.done")
    assert (
        talk.the("conversation.item.input_audio_transcription.completed")["transcript"]
        == "what is two plus two"
    )
    assert stage.chats[0]["messages"][-1]["content"] == "what is two plus two"
    talk.check()
    return talk


async def function_call(stage: Stage) -> Recording:
    """The model asks for a function of the caller's, and speaks of what it returned."""
    stage.script([ToolCall("call_1", "get_weather", '{"city": "Riga"}')], ["It rains in Riga."])
    async with calling(stage, TEXT | {"tools": [WEATHER], "tool_choice": "auto"}) as talk:
        asked = await ask(talk, "how is the weather in Riga")
        call = asked.output[0]
        await talk.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        )
        await talk.connection.response.create()
        answer = (await talk.until("response.done")).response
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "get_weather",
        {"city": "Riga"},
    )
    assert len(talk.of("response.function_call_arguments.delta")) > 0
    assert talk.the("response.function_call_arguments.done")["arguments"] == call.arguments
    assert answer.output[0].content[0].text == "It rains in Riga."
    assert stage.chats[0]["tools"][0]["function"]["name"] == "get_weather"
    assert stage.chats[1]["messages"][-1]["content"] == "rain"
    assert stage.chats[1]["messages"][-1]["role"] == "tool"
    talk.check()
    return talk


async def two_functions(stage: Stage) -> Recording:
    """Two calls in one response, answered in any order."""
    calls = [ToolCall(f"call_{city}", "get_weather", json.dumps({"city": city})) for city in ("Riga", "Oslo")]
    stage.script(calls, ["Rain, and snow."])
    async with calling(stage, TEXT | {"tools": [WEATHER]}) as talk:
        asked = (await ask(talk, "how is the weather in Riga and Oslo")).output
        for call, output in zip(reversed(asked), ("snow", "rain"), strict=True):
            await talk.connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": output}
            )
        await talk.connection.response.create()
        answer = (await talk.until("response.done")).response
    assert [json.loads(call.arguments)["city"] for call in asked] == ["Riga", "Oslo"]
    results = {
        one["tool_call_id"]: one["content"] for one in stage.chats[1]["messages"] if one["role"] == "tool"
    }
    assert results == {asked[0].call_id: "rain", asked[1].call_id: "snow"}
    assert answer.output[0].content[0].text == "Rain, and snow."
    talk.check()
    return talk


async def picture(stage: Stage) -> Recording:
    """This server's model sees none, and is told that there was one."""
    stage.script(["I cannot see it."])
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    async with calling(stage, TEXT) as talk:
        item = message("what is this")
        await talk.connection.conversation.item.create(item={**item, "content": [*item["content"], image]})
        await talk.connection.response.create()
        await talk.until("response.done")
    content = stage.chats[0]["messages"][-1]["content"]
    assert content.startswith("what is this")
    assert "image" in content
    talk.check()
    return talk


async def beside(stage: Stage) -> Recording:
    """An answer out of band has its own input, is marked by its metadata, and leaves no trace."""
    stage.script(["Greeting."], ["Hello."])
    async with calling(stage, TEXT) as talk:
        await talk.connection.conversation.item.create(item=message("good morning"))
        await talk.connection.response.create(
            response={
                "conversation": "none",
                "metadata": {"topic": "sorting"},
                "instructions": "Sort what is said.",
                "input": [message("hi")],
            }
        )
        sorted_out = (await talk.until("response.done")).response
        await talk.connection.response.create()
        answer = (await talk.until("response.done")).response
    assert (sorted_out.metadata, sorted_out.conversation_id) == ({"topic": "sorting"}, None)
    assert answer.metadata is None
    aside, main = stage.chats
    assert "Sort what is said." in aside["messages"][0]["content"]
    assert [one["content"] for one in aside["messages"][1:]] == ["hi"]
    assert [one["content"] for one in main["messages"][1:]] == ["good morning"]
    assert len(talk.of("conversation.item.added")) == 2
    talk.check()
    return talk


async def refusals(stage: Stage) -> Recording:
    """What cannot be done is refused by name, and the conversation goes on."""
    stage.script(["Still here."])
    wrong = (
        {"type": "output_audio_buffer.clear"},
        {"type": "response.cancel"},
        {"type": "input_audio_buffer.commit"},
        {"type": "conversation.item.retrieve", "item_id": "nothing"},
        {"type": "session.update", "session": {"type": "realtime", "prompt": {"id": "pmpt_1"}}},
        {
            "type": "session.update",
            "session": {"type": "realtime", "tools": [{"type": "mcp", "server_label": "files"}]},
        },
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}},
            },
        },
        {"type": "something.else"},
    )
    async with calling(stage, TEXT) as talk:
        for number, event in enumerate(wrong):
            await talk.connection.send({"event_id": f"mine_{number}", **event})
            await talk.until("error")
        answer = await ask(talk, "are you there")
    assert answer.output[0].content[0].text == "Still here."
    errors = [event["error"] for event in talk.of("error")]
    assert [error["event_id"] for error in errors] == [f"mine_{number}" for number in range(len(wrong))]
    assert all(
        error["message"].endswith(".") and error["type"] == "invalid_request_error" for error in errors
    )
    talk.check(errors=len(wrong))
    return talk


ITEMS = (items, spoken_item, function_call, two_functions, picture, beside, refusals)
