"""The three stages that speak to OpenAI-compatible endpoints, over real sockets."""

import asyncio
import socket
from dataclasses import replace

import pytest

from legato.agents.base import Outcome, Tool, ToolCall
from legato.agents.settings import AssistantSettings
from legato.agents.stages import llm_openai, stt_openai, tts_openai
from legato.agents.stages.base import NO_HINTS, Delivery, Hints, Image, Message, ReplyOptions
from legato.core.dialects.realtime.usage import Usage
from legato.core.errors import AgentError
from legato.testing.scripted_endpoint import Break, Fail, Finish, Hold, Pause, Refuse, ScriptedEndpoint

HELLO = [Message("user", "hello")]
FREELY = ReplyOptions()
OPTIONAL = ("reasoning_effort", "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens")


async def look_up(arguments) -> str:
    return "nothing"


LOOK_UP = Tool("look_up", "Looks it up.", {"type": "object"}, look_up)


@pytest.fixture
async def endpoint():
    async with ScriptedEndpoint() as running:
        yield running


def settings_for(url: str, **more) -> AssistantSettings:
    return AssistantSettings(
        stt_url=url,
        stt_key="k-stt",
        llm_url=url + "/",
        llm_key="k-llm",
        tts_url=url,
        endpoint_timeout_s=5,
        **more,
    )


@pytest.fixture
async def model(endpoint):
    made = llm_openai.build(settings_for(endpoint.url, llm_model="tiny"))
    yield made
    await made.close()


@pytest.fixture
async def voice(endpoint):
    made = tts_openai.build(settings_for(endpoint.url, voice="nova"))
    yield made
    await made.close()


@pytest.fixture
async def recognition(endpoint):
    made = stt_openai.build(settings_for(endpoint.url, language="de"))
    yield made
    await made.close()


async def thoughts(model, messages=HELLO, tools=(), options=FREELY) -> list:
    """The answer, with the pieces of each call joined."""
    joined: list = []
    async for thought in model.reply(messages, tools, options):
        if isinstance(thought, ToolCall) and joined and getattr(joined[-1], "id", None) == thought.id:
            joined[-1] = replace(joined[-1], arguments=joined[-1].arguments + thought.arguments)
        else:
            joined.append(thought)
    return joined


def words(thoughts: list) -> list:
    return [thought for thought in thoughts if not isinstance(thought, Outcome)]


async def spoken(voice, text: str) -> list:
    return [piece async for piece in voice.speak(text)]


async def recognised(recognition, pcm: bytes, hints: Hints = NO_HINTS) -> str:
    recogniser = recognition.open(hints=hints)
    await recogniser.feed(pcm)
    try:
        return await recogniser.finish()
    finally:
        await recogniser.close()


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


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (503, True)]
)
async def test_refusals(endpoint, model, voice, recognition, status: int, retryable: bool) -> None:
    refusal = Refuse(status, "because\nof k-llm " + "x" * 1_000)
    endpoint.answers.append(refusal)
    endpoint.speeches.append(refusal)
    endpoint.transcripts.append(refusal)
    refused = []
    for asking in (thoughts(model), spoken(voice, "a"), recognised(recognition, bytes(3_200))):
        with pytest.raises(AgentError, match=rf"answers {status}: because of (k-llm|\.\.\.) x") as caught:
            await asking
        assert caught.value.retryable is retryable
        assert len(str(caught.value)) < 450
        refused.append(caught.value)
        assert "127.0.0.1" not in str(caught.value)
    assert "k-llm" not in str(refused[0])


async def test_an_endpoint_that_is_not_there(endpoint, caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = llm_openai.build(settings_for(f"http://127.0.0.1:{port}/v1"))
    with pytest.raises(AgentError, match=r"^the language model cannot be reached$") as caught:
        await thoughts(model)
    assert caught.value.retryable
    assert f"127.0.0.1:{port}/v1/chat/completions" in caplog.text, "the log says where"
    await model.close()
    with pytest.raises(AgentError, match="closed"):
        await thoughts(model)


async def test_an_endpoint_that_says_nothing(endpoint) -> None:
    endpoint.answers.append([hold := Hold()])
    model = llm_openai.build(settings_for(endpoint.url).model_copy(update={"endpoint_timeout_s": 0.2}))
    with pytest.raises(AgentError, match="does not answer in time") as caught:
        await thoughts(model)
    assert caught.value.retryable
    hold.release()
    await model.close()


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
    async with raw_endpoint(b"text/event-stream", lines.encode()) as url:
        model = llm_openai.build(settings_for(url))
        with pytest.raises(AgentError, match=complaint):
            await thoughts(model)
        await model.close()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"words": "a"}', b"\xff\xfe\x00"])
async def test_transcripts_that_make_no_sense(body: bytes) -> None:
    async with raw_endpoint(b"application/json", body) as url:
        recognition = stt_openai.build(settings_for(url))
        with pytest.raises(AgentError, match="has no text"):
            await recognised(recognition, bytes(3_200))
        await recognition.close()


async def test_a_model_that_ends_without_the_word_done() -> None:
    lines = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    async with raw_endpoint(b"text/event-stream", lines) as url:
        model = llm_openai.build(settings_for(url))
        assert await thoughts(model) == ["Hi", Outcome()]
        await model.close()


async def test_speech_is_sent_as_one_wav_when_it_ends(endpoint, recognition) -> None:
    endpoint.transcripts.append(" good day ")
    recogniser = recognition.open("someone")
    assert await recogniser.feed(b"\x01\x00" * 800) is None
    assert await recogniser.feed(b"\x02\x00" * 800) is None
    assert endpoint.heard == []
    assert await recogniser.finish() == "good day"
    assert endpoint.heard == [b"\x01\x00" * 800 + b"\x02\x00" * 800]
    assert endpoint.keys == ["k-stt"]
    await recogniser.close()
    with pytest.raises(AgentError, match="closed"):
        await recogniser.feed(b"")


async def test_hints_go_along_with_the_speech(endpoint, recognition) -> None:
    await recognised(recognition, bytes(3_200))
    await recognised(recognition, bytes(3_200), Hints("pl", "Łódź"))
    assert [(fields["language"], fields.get("prompt")) for fields in endpoint.transcriptions] == [
        ("de", None),
        ("pl", "Łódź"),
    ]


@pytest.mark.parametrize("kind", ["pcm", "wav"])
async def test_sound_comes_in_either_form(endpoint, voice, kind: str) -> None:
    endpoint.speeches.append(kind)
    pieces = await spoken(voice, "Good day.")
    assert len(pieces) > 1
    assert pieces[0].text == "Good day."
    assert {piece.rate for piece in pieces} == {24_000}
    assert sum(piece.samples for piece in pieces) == 24_000 * 60 * 9 // 1000
    assert endpoint.keys == [""]


async def test_voice_and_speed_are_asked_of_the_endpoint(endpoint, voice) -> None:
    usual = await spoken(voice, "Good day.")
    fast = [piece async for piece in voice.speak("Good day.", Delivery("marin", 1.5))]
    assert sum(piece.samples for piece in fast) == sum(piece.samples for piece in usual) * 2 // 3
    assert [(asked["voice"], asked.get("speed")) for asked in endpoint.speech_requests] == [
        ("nova", None),
        ("marin", 1.5),
    ]


async def test_sound_that_breaks_off_is_heard_so_far(endpoint, voice) -> None:
    endpoint.speeches.append(Break())
    pieces = []
    with pytest.raises(AgentError) as caught:
        async for piece in voice.speak("A rather long sentence, which never ends."):
            pieces.append(piece)
    assert pieces
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no audio"),
        (b"\x00", "no audio"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x80>\0\0\0\xfa\0\0\x04\0\x10\0data\0\0\0\0\1\0",
            "2 channels of 16",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\x80>\0\0\x01\0\x08\0data\0\0\0\0\1\0",
            "1 channels of 8",
        ),
        (b"RIFF\0\0\0\0WAVEJUNK\x04\0\0\0", "no audio"),
        (b"RIFF\0\0\0\0WAVEJUNK\xff\xff\0\0" + bytes(9_000), "without samples"),
    ],
)
async def test_sound_that_makes_no_sense(body: bytes, complaint: str) -> None:
    async with raw_endpoint(b"audio/wav", body) as url:
        voice = tts_openai.build(settings_for(url))
        with pytest.raises(AgentError, match=complaint):
            await spoken(voice, "a")
        await voice.close()


async def test_a_wav_of_known_length_ends_where_it_says() -> None:
    head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0"
    async with raw_endpoint(b"audio/wav", head + b"data\x04\0\0\0abcdLISTtrailer") as url:
        voice = tts_openai.build(settings_for(url))
        (piece,) = await spoken(voice, "a")
        assert (piece.pcm, piece.rate) == (b"abcd", 16_000)
        await voice.close()


class raw_endpoint:  # noqa: N801
    """An HTTP server that answers every request with the same bytes, a few at a time."""

    def __init__(self, kind: bytes, body: bytes) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n%b" % (kind, body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        for start in range(0, len(self.answer), 97):
            writer.write(self.answer[start : start + 97])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()
