"""An item as the server keeps it, from its creation to its deletion, and how the API writes it.

Owns the parts of an item and their growth. Must not know events or the order of items.
"""

from binascii import b2a_base64
from typing import Literal

from legato.core.dialects.realtime.items import Image, Item, ItemType, Role, Text
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.wire.messages import JsonObject

Status = Literal["in_progress", "completed", "incomplete"]

_OVERHEAD = 64
"""What an item or a part weighs at least."""


class Written:
    """Text: `input_text` of a client, `output_text` of an answer."""

    __slots__ = ("_pieces", "size", "type")

    def __init__(self, kind: Literal["input_text", "output_text"], text: str = "") -> None:
        self.type = kind
        self._pieces = [text]
        self.size = len(text)

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(self._pieces)

    def add(self, delta: str) -> None:
        """Go on writing."""
        self._pieces.append(delta)
        self.size += len(delta)

    def as_json(self) -> JsonObject:
        """How the API writes it."""
        return {"type": self.type, "text": self.text}

    def seen(self) -> Text | None:
        """What a model sees of it."""
        return Text(self.text) if self.size else None


class Pictured:
    """An image of the client, as a data URI."""

    __slots__ = ("detail", "url")

    def __init__(self, url: str, detail: str) -> None:
        self.url = url
        self.detail = detail

    @property
    def size(self) -> int:
        """Characters of it."""
        return len(self.url)

    def as_json(self) -> JsonObject:
        """How the API writes it."""
        return {"type": "input_image", "image_url": self.url, "detail": self.detail}

    def seen(self) -> Image:
        """What a model sees of it."""
        return Image(self.url, self.detail)


class Captured:
    """Speech of the caller: `words` are for the model, `transcript` is what the client was told."""

    __slots__ = ("settled", "transcript", "words")

    def __init__(self, transcript: str | None = None) -> None:
        self.settled = False
        """Whether its transcript is complete, or has failed."""
        self.transcript = transcript
        self.words = ""

    @property
    def size(self) -> int:
        """Characters of it."""
        return len(self.words) + len(self.transcript or "")

    def as_json(self) -> JsonObject:
        """How the API writes it, without its audio."""
        return {"type": "input_audio", "transcript": self.transcript}

    def seen(self) -> Text | None:
        """What a model sees of it."""
        return Text(self.words) if self.words else None


class Spoken:
    """A spoken answer."""

    __slots__ = ("spoken",)

    def __init__(self, spoken: SpokenText | None = None) -> None:
        self.spoken = SpokenText() if spoken is None else spoken

    @property
    def size(self) -> int:
        """Characters of it."""
        return self.spoken.size

    def as_json(self) -> JsonObject:
        """How the API writes it, without its audio."""
        return {"type": "output_audio", "transcript": self.spoken.text}

    def seen(self) -> Text | None:
        """What a model sees of it: what the caller heard, or will hear if nobody stops it."""
        text = self.spoken.certain_text()
        return Text(text) if text else None


Part = Written | Pictured | Captured | Spoken


class Entry:
    """One item. `content` belongs to messages; `call_id`, `name`, `arguments` and `output` to functions."""

    __slots__ = ("arguments", "call_id", "content", "id", "name", "output", "role", "status", "type")

    def __init__(self, item_id: str, kind: ItemType, role: Role | None = None) -> None:
        self.id = item_id
        self.type = kind
        self.role = role
        self.status: Status = "completed"
        self.content: list[Part] = []
        self.call_id = ""
        self.name = ""
        self.arguments = ""
        self.output = ""

    @property
    def weight(self) -> int:
        """Characters of everything in it but audio, and something for each part."""
        words = len(self.arguments) + len(self.output) + len(self.name)
        return _OVERHEAD + words + sum(part.size + _OVERHEAD for part in self.content)

    @property
    def spoken(self) -> SpokenText | None:
        """The words and sound of a spoken answer."""
        return next((part.spoken for part in self.content if isinstance(part, Spoken)), None)

    @property
    def untranscribed(self) -> tuple[int, Captured] | None:
        """The caller's speech whose words are to come, with its `content_index`."""
        for index, part in enumerate(self.content):
            if isinstance(part, Captured):
                return None if part.settled else (index, part)
        return None

    def as_json(self, audio: bytes | None = None) -> JsonObject:
        """How the API writes it; `audio` goes into the first part that has sound."""
        written: JsonObject = {
            "id": self.id,
            "object": "realtime.item",
            "type": self.type,
            "status": self.status,
        }
        if self.type == "message":
            content = [part.as_json() for part in self.content]
            sounding = (part for part in content if part["type"] in ("input_audio", "output_audio"))
            if audio is not None and (part := next(sounding, None)) is not None:
                part["audio"] = b2a_base64(audio, newline=False).decode("ascii")
            return written | {"role": self.role, "content": content}
        if self.type == "function_call":
            return written | {"call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        return written | {"call_id": self.call_id, "output": self.output}

    def seen(self) -> Item | None:
        """What a model sees of it; None if that is nothing: unheard, not understood, or a call cut short."""
        if self.type == "message":
            seen = tuple(one for part in self.content if (one := part.seen()) is not None)
            return Item(id=self.id, type=self.type, role=self.role, content=seen) if seen else None
        if self.status != "completed":
            return None
        return Item(
            id=self.id,
            type=self.type,
            call_id=self.call_id,
            name=self.name,
            arguments=self.arguments,
            output=self.output,
        )
