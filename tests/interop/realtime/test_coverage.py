"""No line of the coverage table is unproven: each event that is handled is shown by a scene against a server.

Every scene judges the members and the order of all its events, and that none comes that the table says is
never sent; so together they show exactly what the table says.
"""

from collections.abc import Awaitable, Callable

import pytest
from tests.interop.realtime.recording import Recording
from tests.interop.realtime.scenes_items import function_call, items, refusals
from tests.interop.realtime.scenes_sessions import unheard
from tests.interop.realtime.scenes_turns import (
    cancelled_turn,
    idle_turn,
    manual_turn,
    spoken_turn,
    text_turn,
    truncated_turn,
)
from tests.interop.realtime.stage import Stage

from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS, SERVER_EVENTS
from legato.testing.realtime import check_server_event

pytestmark = pytest.mark.slow

Scene = Callable[[Stage], Awaitable[Recording]]

_TRANSCRIPTION = "conversation.item.input_audio_transcription."

SHOWN: dict[str, Scene] = {
    "session.created": text_turn,
    "session.updated": text_turn,
    "error": refusals,
    "conversation.created": text_turn,
    "conversation.item.added": items,
    "conversation.item.done": items,
    "conversation.item.retrieved": items,
    "conversation.item.truncated": truncated_turn,
    "conversation.item.deleted": items,
    _TRANSCRIPTION + "delta": spoken_turn,
    _TRANSCRIPTION + "completed": spoken_turn,
    _TRANSCRIPTION + "failed": unheard,
    "input_audio_buffer.committed": manual_turn,
    "input_audio_buffer.cleared": manual_turn,
    "input_audio_buffer.speech_started": spoken_turn,
    "input_audio_buffer.speech_stopped": spoken_turn,
    "input_audio_buffer.timeout_triggered": idle_turn,
    "response.created": text_turn,
    "response.done": text_turn,
    "response.output_item.added": text_turn,
    "response.output_item.done": text_turn,
    "response.content_part.added": text_turn,
    "response.content_part.done": text_turn,
    "response.output_audio.delta": spoken_turn,
    "response.output_audio.done": spoken_turn,
    "response.output_audio_transcript.delta": spoken_turn,
    "response.output_audio_transcript.done": spoken_turn,
    "response.output_text.delta": text_turn,
    "response.output_text.done": text_turn,
    "response.function_call_arguments.delta": function_call,
    "response.function_call_arguments.done": function_call,
}
"""Which scene shows a server event."""

ANSWERED: dict[str, tuple[Scene, str]] = {
    "session.update": (text_turn, "session.updated"),
    "input_audio_buffer.append": (spoken_turn, "input_audio_buffer.speech_started"),
    "input_audio_buffer.commit": (manual_turn, "input_audio_buffer.committed"),
    "input_audio_buffer.clear": (manual_turn, "input_audio_buffer.cleared"),
    "conversation.item.create": (items, "conversation.item.added"),
    "conversation.item.retrieve": (items, "conversation.item.retrieved"),
    "conversation.item.truncate": (truncated_turn, "conversation.item.truncated"),
    "conversation.item.delete": (items, "conversation.item.deleted"),
    "response.create": (text_turn, "response.created"),
    "response.cancel": (cancelled_turn, "response.done"),
    "output_audio_buffer.clear": (refusals, "error"),
}
"""In which scene a client event is sent, and what comes of it."""


def test_the_scenes_show_what_the_table_says_is_sent() -> None:
    assert set(SHOWN) == {name for name, entry in SERVER_EVENTS.items() if entry.treatment == "handled"}
    assert {entry.treatment for entry in SERVER_EVENTS.values()} == {"handled", "never sent"}


def test_the_scenes_send_what_the_table_says_is_understood() -> None:
    assert set(ANSWERED) == set(CLIENT_EVENTS)
    refused = {name for name, (_, answer) in ANSWERED.items() if answer == "error"}
    assert refused == {name for name, entry in CLIENT_EVENTS.items() if entry.treatment == "refused"}


@pytest.mark.parametrize("kind", SHOWN)
async def test_a_server_event_is_sent(server: Stage, kind: str) -> None:
    shown = (await server.play(SHOWN[kind])).of(kind)
    assert shown
    for event in shown:
        check_server_event(event)


@pytest.mark.parametrize("kind", ANSWERED)
async def test_a_client_event_is_answered(server: Stage, kind: str) -> None:
    scene, answer = ANSWERED[kind]
    recording = await server.play(scene)
    assert kind in recording.sent_kinds()
    assert answer in recording.kinds()
