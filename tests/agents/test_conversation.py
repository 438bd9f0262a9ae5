"""What a language model is told of a conversation."""

from legato.agents.base import ToolCall
from legato.agents.conversation import NO_RESULT, ToolUse, messages_of
from legato.agents.stages import base
from legato.agents.stages.base import Message
from legato.core.dialects.realtime.items import Image, Item, Role, Text


def said(role: Role, text: str, *images: Image) -> Item:
    return Item(id="i", type="message", role=role, content=(*([Text(text)] if text else []), *images))


def called(call_id: str, name: str = "f", arguments: str = "{}") -> Item:
    return Item(id="i", type="function_call", call_id=call_id, name=name, arguments=arguments)


def answered(call_id: str, output: str) -> Item:
    return Item(id="i", type="function_call_output", call_id=call_id, output=output)


def tool(call_id: str, result: str) -> Message:
    return Message("tool", result, tool_call_id=call_id)


def test_messages_in_order() -> None:
    context = [said("user", "hello"), said("assistant", "Hello."), said("system", "They smile.")]
    assert messages_of(context, "Be kind.", 10) == [
        Message("system", "Be kind."),
        Message("user", "hello"),
        Message("assistant", "Hello."),
        Message("system", "They smile."),
    ]
    assert messages_of([], "", 10) == []


def test_calls_stand_in_one_message_with_the_words_before_them() -> None:
    context = [
        said("user", "weather and time"),
        said("assistant", "One moment."),
        called("a", "weather", '{"city": "Riga"}'),
        called("b", "time"),
        answered("b", "noon"),
        answered("a", "rain"),
    ]
    calls = (ToolCall("a", "weather", '{"city": "Riga"}'), ToolCall("b", "time", "{}"))
    assert messages_of(context, "", 10) == [
        Message("user", "weather and time"),
        Message("assistant", "One moment.", tool_calls=calls),
        tool("a", "rain"),
        tool("b", "noon"),
    ]


def test_a_result_is_moved_to_its_call() -> None:
    """The caller went on talking while the tool was at work."""
    context = [called("a"), said("user", "hurry"), answered("a", "done")]
    assert messages_of(context, "", 10) == [
        Message("assistant", "", tool_calls=(ToolCall("a", "f", "{}"),)),
        tool("a", "done"),
        Message("user", "hurry"),
    ]


def test_a_tool_that_never_answers_and_an_answer_that_nobody_asked_for() -> None:
    context = [called("a"), answered("x", "42"), called("b", arguments="")]
    assert messages_of(context, "", 10) == [
        Message("assistant", "", tool_calls=(ToolCall("a", "f", "{}"),)),
        tool("a", NO_RESULT),
        Message("system", "A function answered: 42"),
        Message("assistant", "", tool_calls=(ToolCall("b", "f", "{}"),)),
        tool("b", NO_RESULT),
    ]


def test_tools_of_the_server_that_were_used_in_the_same_breath() -> None:
    timer = ToolUse(ToolCall("t", "set_timer", "{}"), "It runs.")
    context = [said("user", "both"), called("a"), called("b"), answered("a", "x"), answered("b", "y")]
    asking = Message(
        "assistant", "", tool_calls=(ToolCall("a", "f", "{}"), timer.call, ToolCall("b", "f", "{}"))
    )
    assert messages_of(context, "", 10, {"a": [timer]})[1:] == [
        asking,
        tool("a", "x"),
        tool("t", "It runs."),
        tool("b", "y"),
    ]


def test_the_oldest_are_left_out_and_no_tool_answers_nothing() -> None:
    context = [called("a"), answered("a", "x"), said("user", "one"), said("user", "two")]
    assert [message.content for message in messages_of(context, "Be kind.", 3)] == ["Be kind.", "one", "two"]
    assert [message.content for message in messages_of(context, "", 1)] == ["two"]


def test_images_come_along() -> None:
    (message,) = messages_of([said("user", "look", Image("data:a", "low"), Image("data:b", "odd"))], "", 10)
    assert message == Message("user", "look", images=(base.Image("data:a", "low"), base.Image("data:b")))
