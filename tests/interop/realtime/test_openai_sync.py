"""The stock `openai` package, blocking, against `legato serve`."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from openai import OpenAI
from openai.types.websocket_reconnection import ReconnectingEvent
from tests.interop.realtime.calling import TEXT, message
from tests.interop.realtime.recording import Recording, pieces
from tests.interop.realtime.scenes_items import WEATHER
from tests.interop.realtime.speech import milliseconds, spoken
from tests.interop.realtime.stage import Stage

from legato.agents.base import ToolCall
from legato.bench.processes import child, free_port, module, wait_for_port

pytestmark = pytest.mark.slow


class Blocking(Recording):
    """The recording of a connection of the blocking client."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection
        receive = connection.recv_bytes

        def recv_bytes() -> bytes:
            data: bytes = receive()
            self.events.append(json.loads(data))
            return data

        connection.recv_bytes = recv_bytes

    def until(self, kind: str) -> Any:
        """Iterate, as people do, until an event of this type comes."""
        for event in self.connection:
            if event.type == kind:
                return event
        raise AssertionError(f"the connection ended before any {kind}")


@contextmanager
def calling(stage: Stage, session: dict[str, Any] | None = None) -> Iterator[Blocking]:
    """A call."""
    with OpenAI(base_url=stage.url) as client, client.realtime.connect(model="legato") as connection:
        talk = Blocking(connection)
        if session is not None:
            connection.session.update(session={"type": "realtime", **session})
            talk.until("session.updated")
        yield talk


def test_text(server: Stage) -> None:
    server.script(["A gross."])
    with calling(server, TEXT) as talk:
        talk.connection.conversation.item.create(item=message("a dozen dozens"))
        talk.connection.response.create()
        answer = talk.until("response.done").response
    assert answer.output[0].content[0].text == "A gross."
    talk.check()


def test_speech(server: Stage) -> None:
    server.script(["One hundred and forty four."])
    with calling(server) as talk:
        for piece in pieces(spoken("what is twelve times twelve")):
            talk.connection.input_audio_buffer.append(audio=piece)
        answer = talk.until("response.done").response
    assert answer.output[0].content[0].transcript == "One hundred and forty four."
    heard = talk.the("conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == "what is twelve times twelve"
    assert milliseconds(talk.audio) > 1000
    talk.check()


def test_a_function(server: Stage) -> None:
    server.script([ToolCall("call_1", "get_weather", '{"city": "Riga"}')], ["Rain."])
    with calling(server, TEXT | {"tools": [WEATHER]}) as talk:
        talk.connection.conversation.item.create(item=message("how is the weather in Riga"))
        talk.connection.response.create()
        call = talk.until("response.done").response.output[0]
        talk.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        )
        talk.connection.response.create()
        answer = talk.until("response.done").response
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Riga"})
    assert answer.output[0].content[0].text == "Rain."
    talk.check()


def test_truncate_and_retrieve(server: Stage) -> None:
    server.script(["One hundred and forty four. That is a gross."])
    with calling(server) as talk:
        talk.connection.conversation.item.create(item=message("a dozen dozens"))
        talk.connection.response.create()
        item = talk.until("response.done").response.output[0]
        talk.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=700)
        cut = talk.until("conversation.item.truncated")
        talk.connection.conversation.item.delete(item_id=item.id)
        gone = talk.until("conversation.item.deleted")
    assert (cut.audio_end_ms, gone.item_id) == (700, item.id)
    talk.check()


def test_a_secret(server: Stage) -> None:
    with OpenAI(base_url=server.url) as shop:
        made = shop.realtime.client_secrets.create(session={"type": "realtime", "instructions": "Sell."})
    with (
        OpenAI(base_url=server.url, api_key=made.value) as guest,
        guest.realtime.connect(model="legato") as connection,
    ):
        talk = Blocking(connection)
        assert talk.until("session.created").session.instructions == "Sell."
        talk.until("conversation.created")
    talk.check()


@pytest.mark.timeout(120)
def test_a_process_that_is_restarted_is_found_again(server: Stage) -> None:
    """`legato serve` ends on SIGTERM, and another one starts on the same port while the package waits."""
    port = free_port()
    command = module("legato", "serve", "--agent", "echo", "--port", str(port), "--drain-seconds", "0")
    closed: list[int] = []
    with ExitStack() as processes:

        def serve() -> None:
            process = processes.enter_context(child("a server", command, XDG_STATE_HOME=str(server.state)))
            wait_for_port(process, port)

        def reconnecting(event: ReconnectingEvent) -> None:
            closed.append(event.close_code)
            serve()

        serve()
        with (
            OpenAI(base_url=f"https://localhost:{port}/v1") as client,
            client.realtime.connect(
                model="legato", on_reconnecting=reconnecting, initial_delay=0.05
            ) as connection,
        ):
            talk = Blocking(connection)
            first = talk.until("session.created").session
            talk.until("conversation.created")
            processes.pop_all().close()
            second = talk.until("session.created").session
            connection.session.update(session={"type": "realtime", "instructions": "Again."})
            assert talk.until("session.updated").session.instructions == "Again."
    assert closed == [1012]
    assert first.id != second.id
    assert not talk.of("error")
