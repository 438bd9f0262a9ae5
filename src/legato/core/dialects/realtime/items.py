"""What a model is to see of a conversation: plain values that no later event changes.

Must not know how a conversation comes about: `entry.py` makes these values.
"""

from typing import Literal

import msgspec

ItemType = Literal["message", "function_call", "function_call_output"]
Role = Literal["system", "user", "assistant"]


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Words: written, recognised, or heard."""

    text: str


class Image(msgspec.Struct, frozen=True, tag="image"):
    """A picture, as a data URI."""

    url: str
    detail: str = "auto"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a conversation as a model is to see it.

    A "message" has a `role` and `content`, a "function_call" `call_id`, `name` and `arguments` (the text of
    a JSON object), a "function_call_output" `call_id` and `output`. Of speech the content is what was
    recognised; of a spoken answer what was heard, or all of it while it plays on undisturbed.
    """

    id: str
    type: ItemType
    role: Role | None = None
    content: tuple[Text | Image, ...] = ()
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""

    @property
    def text(self) -> str:
        """All words of a message."""
        return " ".join(part.text for part in self.content if isinstance(part, Text))
