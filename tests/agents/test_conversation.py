from legato.agents.base import ToolCall
from legato.agents.conversation import Conversation
from legato.agents.stages.base import Message


def test_messages_in_order() -> None:
    conversation = Conversation("Be kind.", most=10)
    conversation.person_said("hello")
    conversation.person_heard("")
    conversation.person_heard("Hello.")
    call = ToolCall("1", "set_timer", "{}")
    conversation.used_tools("Just a moment.", [call], ["done"])
    assert conversation.messages == [
        Message("system", "Be kind."),
        Message("user", "hello"),
        Message("assistant", "Hello."),
        Message("assistant", "Just a moment.", tool_calls=(call,)),
        Message("tool", "done", tool_call_id="1"),
    ]


def test_the_oldest_are_forgotten_and_no_tool_answers_nothing() -> None:
    conversation = Conversation("", most=3)
    conversation.used_tools("", [ToolCall("1", "a"), ToolCall("2", "b")], ["x", "y"])
    conversation.person_said("one")
    assert [message.content for message in conversation.messages] == ["one"]
    for text in ("two", "three", "four"):
        conversation.person_said(text)
    assert [message.content for message in conversation.messages] == ["two", "three", "four"]
