"""A dialogue under test: everything it said and asked so far, and a clock that stands still by itself."""

from itertools import count
from typing import Any

from legato.core.dialects.realtime.dialogue import Dialogue, DialogueEvent, Opening
from legato.core.dialects.realtime.dialogue_events import ResponseWanted
from legato.core.dialects.realtime.response import Response
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.wire.messages import JsonObject
from legato.testing.realtime import check_server_events

RATE = 24_000
SECOND = 1_000_000


def pcm(start: int, samples: int) -> bytes:
    """Samples that tell their own position."""
    return b"".join((at & 0xFFFF).to_bytes(2, "little") for at in range(start, start + samples))


class Talk:
    """A client, an agent and a clock around one dialogue."""

    def __init__(self, session: JsonObject | None = None, **opening: Any) -> None:
        kind = opening.pop("type", "realtime")
        settings = SessionSettings.of(kind).updated({"type": kind, **(session or {})})
        numbers = count(1)
        self.now = 0
        self.said: list[JsonObject] = []
        self._order: list[str] = []
        self.asked: list[DialogueEvent] = []
        self.dialogue = Dialogue(
            Opening(
                **{
                    "session_id": "sess_1",
                    "settings": settings,
                    "new_id": lambda prefix: f"{prefix}_{next(numbers)}",
                    **opening,
                }
            ),
            self.now,
        )
        self.drain()

    def drain(self) -> list[JsonObject]:
        """Take what was said and asked since the last time; returns what was said."""
        said = self.dialogue.outputs()
        self.said += said
        self.asked += self.dialogue.events()
        for event in said:
            if event["type"] == "conversation.item.added":
                before = event["previous_item_id"]
                place = 0 if before is None else self._order.index(before) + 1
                self._order.insert(place, event["item"]["id"])
            elif event["type"] == "conversation.item.deleted":
                self._order.remove(event["item_id"])
        return said

    def send(self, kind: str, **members: Any) -> list[JsonObject]:
        """A client event; returns what was said to it."""
        self.dialogue.receive({"type": kind, **members}, self.now)
        return self.drain()

    def refusal(self, kind: str, **members: Any) -> JsonObject:
        """A client event that is refused; returns the error object."""
        said = self.send(kind, event_id="event_of_client", **members)
        assert kinds(said) == ["error"]
        error: JsonObject = said[0]["error"]
        assert error["event_id"] == "event_of_client"
        assert error["message"]
        return error

    def hear(self, samples: int) -> None:
        """The caller's microphone."""
        self.dialogue.hear(pcm(self.dialogue.position, samples), samples)

    def turn(self, words: str, samples: int = RATE) -> str:
        """The caller says something, and it is understood; returns the item."""
        item = self.turn_unheard(samples)
        self.dialogue.transcript_done(item, words, samples / RATE, self.now)
        self.drain()
        return item

    def turn_unheard(self, samples: int = RATE) -> str:
        """The caller says something, and its words are not known yet; returns the item."""
        start = self.dialogue.position
        self.hear(samples)
        item = self.dialogue.speech_started(start, self.now)
        self.dialogue.speech_stopped(self.dialogue.position, self.now)
        self.drain()
        return item

    def answer(self, text: str, samples: int = RATE, **overrides: Any) -> str:
        """The agent says something, to its end; returns the item."""
        response = self.begin(**overrides)
        item = self.speak(response, text, samples)
        response.end("completed", self.now)
        self.drain()
        return item

    def wanted(self, **members: Any) -> Response:
        """The client asks for a response, which is all that the agent is asked."""
        self.asked.clear()
        self.send("response.create", **({"response": members} if members else {}))
        (event,) = self.asked
        assert isinstance(event, ResponseWanted)
        return event.response

    def begin(self, **overrides: Any) -> Response:
        """The agent begins a response."""
        response = self.dialogue.begin_response("agent", self.now, overrides)
        assert response is not None
        return response

    def speak(self, response: Response, text: str, samples: int = RATE) -> str:
        """A spoken message of a response; returns the item."""
        item = response.open_message()
        response.transcript(text, 0)
        spoken = self.spoken(item)
        spoken.note_sent(samples)
        return item

    def spoken(self, item_id: str) -> Any:
        """The words and sound of an item; None where it has none."""
        entry = self.dialogue._parts.conversation.get(item_id)
        return None if entry is None else entry.spoken

    def retrieved(self, item_id: str) -> JsonObject:
        """An item, as the client can retrieve it."""
        (said,) = self.send("conversation.item.retrieve", item_id=item_id)
        item: JsonObject = said["item"]
        return item

    def order(self) -> list[str]:
        """The ids of the conversation's items, as the client knows them by what it was told."""
        return self._order[:]

    def seen(self) -> list[str]:
        """What a model would see now, "role: text" for each item."""
        self.drain()
        response = self.dialogue.begin_response("agent", self.now, {"conversation": "none"})
        assert response is not None
        items = self.dialogue.context(response.request)
        response.end("completed", self.now)
        self.drain()
        return [f"{item.role or item.type}: {item.text}" for item in items]

    def judge(self, ended: bool = True) -> None:
        """Everything said so far is what the API says, in the order it says."""
        self.drain()
        check_server_events(self.said, ended=ended)


def kinds(events: list[JsonObject]) -> list[str]:
    """The types of events."""
    return [event["type"] for event in events]


def text_message(text: str, role: str = "user", **members: Any) -> JsonObject:
    """A message as a client writes it."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **members}
