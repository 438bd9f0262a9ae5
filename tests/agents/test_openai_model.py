"""The language model behind an OpenAI-compatible endpoint, over real sockets."""

import asyncio
import json

import pytest
from tests.agents.openai_endpoint import (
    FREELY,
    HELLO,
    FixedAnswer,
    settings_for,
    thoughts,
    words,
)

from legato.agents.base import Outcome, Tool, ToolCall
from legato.agents.stages import llm_openai, openai_http
from legato.agents.stages.base import Image, Message, ReplyOptions
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import AgentError
from legato.testing.scripted_endpoint import Break, Fail, Finish, Hold, Pause

OPTIONAL = ("reasoning_effort", "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens")


async def look_up(arguments) -> str:
    return "nothing"


LOOK_UP = Tool("look_up", "Looks it up.", {"type": "object"}, look_up)


async def test_an_answer_comes_as_it_is_written(endpoint, model) -> None:
    hold = Hold()
    endpoint.answers.append(["One ", hold, "two."])
    reply = model.reply(HELLO, [], FREELY)
    assert await anext(reply) == "One "
    await hold.reached.wait()
    hold.release()
    usage = Usage(input_text_tokens=1, output_text_tokens=2)
    assert [piece async for piece in reply] == ["two.", Outcome(usage=usage)]
    (chat,) = endpoint.chats
    assert chat == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert endpoint.keys == ["k-llm"]


async def test_tools_there_and_back(endpoint, model) -> None:
    async def run(arguments) -> str:
        return ""

    tools = [Tool("set_timer", "Rings.", {"type": "object"}, run)]
    calls = [ToolCall("c1", "set_timer", '{"seconds": 5}'), ToolCall("c2", "other", '{"a": [1, 2]}')]
    endpoint.answers.append(["Sure. ", *calls])
    assert words(await thoughts(model, tools=tools)) == ["Sure. ", *calls]
    function = {"name": "set_timer", "description": "Rings.", "parameters": {"type": "object"}}
    assert endpoint.chats[0]["tools"] == [{"type": "function", "function": function}]

    told = [
        *HELLO,
        Message("assistant", "", tool_calls=(calls[0],)),
        Message("tool", "ok", tool_call_id="c1"),
    ]
    await thoughts(model, told)
    assert endpoint.chats[1]["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "set_timer", "arguments": '{"seconds": 5}'},
                }
            ],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "c1"},
    ]


async def test_an_answer_that_breaks_off(endpoint, model) -> None:
    endpoint.answers.append(["One ", Break()])
    reply = model.reply(HELLO, [], FREELY)
    assert await anext(reply) == "One "
    with pytest.raises(AgentError) as caught:
        await anext(reply)
    assert caught.value.retryable
    assert words(await thoughts(model)) == endpoint.default_answer


async def test_arguments_come_while_they_are_written(endpoint, model) -> None:
    endpoint.answers.append([ToolCall("c1", "look_up", '{"word": "legato"}'), hold := Hold()])
    reply = model.reply(HELLO, [LOOK_UP], FREELY)
    pieces = [await anext(reply), await anext(reply)]
    assert [piece.id for piece in pieces] == ["c1", "c1"]
    assert "".join(piece.arguments for piece in pieces) == '{"word": "legato"}'
    assert not hold.released.is_set()
    await reply.aclose()
    hold.release()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (FREELY, {}),
        (ReplyOptions("none", effort="low"), {"tool_choice": "none", "reasoning_effort": "low"}),
        (ReplyOptions("required", max_tokens=7), {"tool_choice": "required", "max_tokens": 7}),
        (
            ReplyOptions(tool_name="look_up", parallel_tool_calls=False),
            {
                "tool_choice": {"type": "function", "function": {"name": "look_up"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
async def test_options_reach_the_endpoint(endpoint, model, options: ReplyOptions, expected: dict) -> None:
    await thoughts(model, tools=[LOOK_UP], options=options)
    asked = endpoint.chats[0]
    assert {key: asked[key] for key in OPTIONAL if key in asked} == expected
    await thoughts(model, options=options)
    assert "tool_choice" not in endpoint.chats[1], "no tools, no choice"


async def test_the_limit_has_the_name_that_the_endpoint_knows(endpoint) -> None:
    model = llm_openai.build(settings_for(endpoint.url, llm_token_limit="max_completion_tokens"))
    await thoughts(model, options=ReplyOptions(max_tokens=9))
    assert endpoint.chats[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in endpoint.chats[0]
    await model.close()


@pytest.mark.parametrize(("reason", "told"), [("length", "max_output_tokens"), ("content_filter",) * 2])
async def test_an_answer_that_is_cut_says_so(endpoint, model, reason: str, told: str) -> None:
    endpoint.answers.append(["One two", Finish(reason, 10, 2, cached_tokens=4)])
    usage = Usage(input_text_tokens=10, cached_tokens=4, output_text_tokens=2)
    assert await thoughts(model) == ["One two", Outcome("incomplete", told, usage)]


async def test_a_call_that_is_cut_is_no_complete_call(endpoint, model) -> None:
    endpoint.answers.append([ToolCall("c1", "look_up", '{"word": "le'), Finish("length")])
    call, outcome = await thoughts(model, tools=[LOOK_UP])
    assert call.arguments == '{"word": "le'
    assert outcome.status == "incomplete"


async def test_an_endpoint_that_fails_in_mid_answer(endpoint, model) -> None:
    endpoint.answers.append(["One ", Fail("out of memory")])
    reply = model.reply(HELLO, [], FREELY)
    assert await anext(reply) == "One "
    with pytest.raises(AgentError, match="the model failed: out of memory"):
        await anext(reply)


async def test_images_only_for_endpoints_that_see(endpoint) -> None:
    picture = Image("data:image/png;base64,AAAA", "low")
    said = [Message("user", "What is this?", images=(picture,)), Message("user", "", images=(picture,))]
    blind, seeing = (llm_openai.build(settings_for(endpoint.url, llm_images=sees)) for sees in (False, True))
    await thoughts(blind, said)
    await thoughts(seeing, said)
    unseen = "(Here was an image, which you cannot see.)"
    assert [message["content"] for message in endpoint.chats[0]["messages"]] == [
        f"What is this? {unseen}",
        unseen,
    ]
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    assert [message["content"] for message in endpoint.chats[1]["messages"]] == [
        [{"type": "text", "text": "What is this?"}, part],
        [part],
    ]
    await blind.close()
    await seeing.close()


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([Message("assistant", "", tool_calls=(ToolCall("c1", "a"),))], "without a result: c1"),
        ([Message("assistant", "", tool_calls=(ToolCall("c1", "a"),)), *HELLO], "without a result: c1"),
        ([*HELLO, Message("tool", "x", tool_call_id="c2")], "a tool answers 'c2'"),
    ],
)
async def test_the_scripted_endpoint_refuses_what_a_real_one_would(model, messages, complaint: str) -> None:
    with pytest.raises(AgentError, match=f"answers 400: .*{complaint}"):
        await thoughts(model, messages)


async def test_the_scripted_endpoint_may_decide_by_the_request(endpoint, model) -> None:
    endpoint.default_answer = lambda chat: [Pause(0.0), f"You said {chat['messages'][-1]['content']}."]
    assert words(await thoughts(model)) == ["You said hello."]


async def test_whoever_stops_listening_ends_the_request(endpoint, model) -> None:
    endpoint.answers.append(["One ", hold := Hold(), "two"])
    reply = model.reply(HELLO, [], FREELY)
    await anext(reply)
    await reply.aclose()
    hold.release()
    endpoint.answers.append(["One ", hold := Hold(), "two"])
    asking = asyncio.create_task(thoughts(model))
    await hold.reached.wait()
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    hold.release()


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("data: {\n\n", "cannot be understood"),
        ("data: [1]\n\n", "cannot be understood"),
        ('data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n', "cannot be understood"),
        ('data: {"error": {"message": "overloaded"}}\n\n', "the model failed: overloaded"),
        ('data: {"error": "bare"}\n\n', "the model failed: bare"),
        ('data: {"choices": []}\n\n', "broke off"),
        (": comment\n\nevent: x\n\n", "broke off"),
        ("", "broke off"),
    ],
)
async def test_streams_that_make_no_sense(lines: str, complaint: str) -> None:
    async with FixedAnswer(b"text/event-stream", lines.encode()) as url:
        model = llm_openai.build(settings_for(url))
        with pytest.raises(AgentError, match=complaint):
            await thoughts(model)
        await model.close()


async def test_a_model_that_ends_without_the_word_done() -> None:
    lines = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    async with FixedAnswer(b"text/event-stream", lines) as url:
        model = llm_openai.build(settings_for(url))
        assert await thoughts(model) == ["Hi", Outcome()]
        await model.close()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_lines_end_at_newlines_only(end: bytes) -> None:
    """A text may hold what Unicode takes for the end of a line, or of a paragraph."""
    said = "one\u2028two\u2029three\u0085four"
    event = {"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}
    body = b"data: " + json.dumps(event, ensure_ascii=False).encode() + end
    for lines in (body, body + end + b"data: [DONE]" + end, body.removesuffix(end)):
        async with FixedAnswer(b"text/event-stream", lines) as url:
            model = llm_openai.build(settings_for(url))
            assert await thoughts(model) == [said, Outcome()]
            await model.close()


async def test_a_line_without_end_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(openai_http, "MOST_BYTES", 10_000)
    async with FixedAnswer(b"text/event-stream", b"data: " + b"x" * 50_000) as url:
        model = llm_openai.build(settings_for(url))
        with pytest.raises(AgentError, match="the language model answers with more than 10000 bytes"):
            await thoughts(model)
        await model.close()
