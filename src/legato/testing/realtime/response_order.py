"""The order of events within a response, and of responses among each other.

    response.created, then for each item, one after the other:
      output_item.added, conversation.item.added (unless out of band)
      for each part of a message: content_part.added, deltas, their done, content_part.done
      of a function call: arguments deltas, arguments.done
      output_item.done, conversation.item.done
    response.done, and nothing of the response after it

Deltas join to their `done`; what `content_part.done` says stands in `output_item.done`, and what that says in
`response.done`. One response at a time writes to the conversation. Must not know what was asked for.
"""

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from legato.core.wire.messages import JsonObject
from legato.testing.realtime.conversation_order import ConversationOrder

_CONTENT_TYPES = {"audio": "output_audio", "text": "output_text"}
_WORDS = {"audio": "transcript", "text": "text"}
_ENDS = {"completed", "cancelled", "incomplete", "failed"}


@dataclass
class _Part:
    kind: str
    words: str = ""
    audio_done: bool = False
    words_done: bool = False
    done: bool = False


@dataclass
class _Output:
    item: JsonObject
    parts: list[_Part] = field(default_factory=list)
    arguments: str = ""
    arguments_done: bool = False
    done: bool = False
    settled: bool = False


@dataclass
class _Running:
    in_conversation: bool
    outputs: list[_Output] = field(default_factory=list)


class ResponseOrder:
    """Judges one event after the other."""

    def __init__(self, conversation: ConversationOrder, from_start: bool) -> None:
        self._conversation = conversation
        self._from_start = from_start
        self._running: dict[str, _Running] = {}
        self._over: set[str] = set()
        self._rules: dict[str, Callable[[_Running, JsonObject], list[str]]] = {
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.output_audio.delta": self._audio_delta,
            "response.output_audio.done": self._audio_done,
            "response.output_audio_transcript.delta": self._words_delta,
            "response.output_audio_transcript.done": self._words_done,
            "response.output_text.delta": self._words_delta,
            "response.output_text.done": self._words_done,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
        }

    def see(self, event: JsonObject) -> list[str]:
        """What is wrong with this event after all those before it."""
        kind = event.get("type", "")
        if kind == "response.created":
            return self._created(event)
        if kind == "response.done":
            return self._done(event)
        if kind == "conversation.item.added":
            return self._conversation_added(event)
        if kind == "conversation.item.done":
            return self._conversation_done(event)
        rule = self._rules.get(kind)
        if rule is None:
            return []
        name = event["response_id"]
        if name in self._over:
            return [f"{name} is over"]
        running = self._running.get(name)
        if running is None:
            return [f"{name} was not created"] if self._from_start else []
        return rule(running, event)

    def unfinished(self) -> list[str]:
        """What a session that is over should not leave behind."""
        return [f"{name} is not done" for name in self._running]

    def _created(self, event: JsonObject) -> list[str]:
        response = event["response"]
        name, in_conversation = response.get("id"), response.get("conversation_id") is not None
        faults = []
        if not isinstance(name, str):
            return ["the response has no id"]
        if name in self._running or name in self._over:
            faults.append(f"{name} was created before")
        writers = [other for other, running in self._running.items() if running.in_conversation]
        if in_conversation and writers:
            faults.append(f"{writers[0]} still writes to the conversation")
        if response.get("status") != "in_progress" or response.get("output"):
            faults.append("a response begins in_progress and without output")
        self._running[name] = _Running(in_conversation)
        return faults

    def _done(self, event: JsonObject) -> list[str]:
        response = event["response"]
        name, status = response.get("id"), response.get("status")
        running = self._running.pop(name, None)
        if running is None:
            return [f"{name} is not in progress"] if self._from_start or name in self._over else []
        self._over.add(name)
        faults = [] if status in _ENDS else [f"a response does not end {status}"]
        details = response.get("status_details") or {}
        if details.get("type", status) != status:
            faults.append(f"status_details say {details['type']}, the status is {status}")
        if status in ("cancelled", "incomplete") and not details.get("reason"):
            faults.append(f"a response that is {status} gives a reason")
        faults += [f"{one.item['id']} is not done" for one in running.outputs if not one.done]
        if [one.item for one in running.outputs] != (response.get("output") or []):
            faults.append("its output is not what output_item.done said")
        incomplete = [one.item["id"] for one in running.outputs if one.item.get("status") != "completed"]
        if status == "completed" and incomplete:
            faults.append(f"it is completed, but {incomplete[0]} is not")
        names = [one.item["id"] for one in running.outputs if running.in_conversation and not one.settled]
        faults += [
            f"{name} is not done in the conversation"
            for name in names
            if not self._conversation.is_deleted(name)
        ]
        return faults

    def _conversation_added(self, event: JsonObject) -> list[str]:
        output = self._in_progress(event)
        same = output is None or output.item == event["item"]
        return [] if same else ["the item is not what output_item.added said"]

    def _conversation_done(self, event: JsonObject) -> list[str]:
        output = self._in_progress(event)
        if output is None:
            return []
        output.settled = True
        if not output.done:
            return [f"{event['item']['id']} is not done in its response"]
        return [] if output.item == event["item"] else ["the item is not what output_item.done said"]

    def _in_progress(self, event: JsonObject) -> _Output | None:
        """The item of a response in progress that an event of the conversation is about."""
        outputs = (one for running in self._running.values() for one in running.outputs)
        return next((one for one in outputs if one.item["id"] == event["item"].get("id")), None)

    # Items

    def _item_added(self, running: _Running, event: JsonObject) -> list[str]:
        item = event["item"]
        if not isinstance(item.get("id"), str):
            return ["the item has no id"]
        faults = []
        if running.outputs and not running.outputs[-1].done:
            faults.append(f"{running.outputs[-1].item['id']} is not done")
        if event["output_index"] != len(running.outputs):
            faults.append(f"output_index is {event['output_index']}, the next is {len(running.outputs)}")
        if item.get("status") != "in_progress" or item.get("content"):
            faults.append("an item begins in_progress and without content")
        running.outputs.append(_Output(item))
        if running.in_conversation:
            self._conversation.made_by_response.add(item["id"])
        return faults

    def _item_done(self, running: _Running, event: JsonObject) -> list[str]:
        output, faults = self._output(running, event, event["item"].get("id"))
        if output is None:
            return faults
        item = event["item"]
        if item.get("status") not in ("completed", "incomplete"):
            faults.append(f"an item does not end {item.get('status')}")
        if output.item["type"] == "function_call":
            if not output.arguments_done:
                faults.append("its arguments are not done")
            if item.get("arguments") != output.arguments:
                faults.append("its arguments are not what arguments.done said")
        faults += [f"part {index} is not done" for index, part in enumerate(output.parts) if not part.done]
        content = item.get("content") or []
        said = [(_CONTENT_TYPES.get(part.kind), part.words) for part in output.parts]
        if said != [(part.get("type"), _content_words(part)) for part in content]:
            faults.append("its content is not what content_part.done said")
        output.item, output.done = item, True
        return faults

    def _output(
        self, running: _Running, event: JsonObject, name: str | None
    ) -> tuple[_Output | None, list[str]]:
        """The item an event is about; it has to be open, and in the conversation if it belongs there."""
        output = next((one for one in running.outputs if one.item["id"] == name), None)
        if output is None:
            return None, [f"{name} is no item of this response"]
        faults = [f"{name} is done already"] if output.done else []
        index = running.outputs.index(output)
        if event["output_index"] != index:
            faults.append(f"output_index is {event['output_index']}, {name} has {index}")
        if running.in_conversation and not self._conversation.is_added(str(name)):
            faults.append(f"{name} was not added to the conversation")
        return output, faults

    # Parts

    def _part_added(self, running: _Running, event: JsonObject) -> list[str]:
        output, faults = self._output(running, event, event["item_id"])
        if output is None:
            return faults
        if output.item["type"] != "message":
            faults.append("only messages have parts")
        if output.parts and not output.parts[-1].done:
            faults.append("the part before it is not done")
        if event["content_index"] != len(output.parts):
            faults.append(f"content_index is {event['content_index']}, the next is {len(output.parts)}")
        output.parts.append(_Part(event["part"].get("type", "")))
        return faults

    def _part(self, running: _Running, event: JsonObject, kind: str) -> tuple[_Part | None, list[str]]:
        """The part an event is about; it has to be open and of this kind."""
        output, faults = self._output(running, event, event["item_id"])
        if output is None:
            return None, faults
        index = event["content_index"]
        if index >= len(output.parts):
            return None, [*faults, f"part {index} was not added"]
        part = output.parts[index]
        if part.done:
            faults.append(f"part {index} is done already")
        if kind and part.kind != kind:
            faults.append(f"part {index} is {part.kind}")
        return part, faults

    def _part_done(self, running: _Running, event: JsonObject) -> list[str]:
        part, faults = self._part(running, event, "")
        if part is None:
            return faults
        if not part.words_done or (part.kind == "audio" and not part.audio_done):
            faults.append("its deltas are not done")
        said = event["part"]
        if said.get("type") != part.kind or (said.get(_WORDS.get(part.kind, "")) or "") != part.words:
            faults.append(f"the part is {said}, its deltas said {part.words!r}")
        part.done = True
        return faults

    def _audio_delta(self, running: _Running, event: JsonObject) -> list[str]:
        part, faults = self._part(running, event, "audio")
        try:
            binascii.a2b_base64(event["delta"], strict_mode=True)
        except ValueError:
            faults.append("the delta is not base64")
        return [*faults, "the audio was done"] if part is not None and part.audio_done else faults

    def _audio_done(self, running: _Running, event: JsonObject) -> list[str]:
        part, faults = self._part(running, event, "audio")
        if part is not None and part.audio_done:
            faults.append("the audio was done before")
        if part is not None:
            part.audio_done = True
        return faults

    def _words_delta(self, running: _Running, event: JsonObject) -> list[str]:
        part, faults = self._part(running, event, _kind(event))
        if part is None:
            return faults
        part.words += event["delta"]
        return [*faults, "the words were done"] if part.words_done else faults

    def _words_done(self, running: _Running, event: JsonObject) -> list[str]:
        part, faults = self._part(running, event, _kind(event))
        if part is None:
            return faults
        words = event[_WORDS[_kind(event)]]
        if part.words_done:
            faults.append("the words were done before")
        if words != part.words:
            faults.append(f"its deltas say {part.words!r}, it says {words!r}")
        part.words_done = True
        return faults

    # Function calls

    def _arguments_delta(self, running: _Running, event: JsonObject) -> list[str]:
        output, faults = self._call(running, event)
        if output is None:
            return faults
        output.arguments += event["delta"]
        return [*faults, "the arguments were done"] if output.arguments_done else faults

    def _arguments_done(self, running: _Running, event: JsonObject) -> list[str]:
        output, faults = self._call(running, event)
        if output is None:
            return faults
        if output.arguments_done:
            faults.append("the arguments were done before")
        if event["arguments"] != output.arguments:
            faults.append(f"its deltas say {output.arguments!r}, it says {event['arguments']!r}")
        if event["name"] != output.item.get("name"):
            faults.append(f"the item calls {output.item.get('name')}")
        output.arguments_done = True
        return faults

    def _call(self, running: _Running, event: JsonObject) -> tuple[_Output | None, list[str]]:
        output, faults = self._output(running, event, event["item_id"])
        if output is not None and output.item["type"] != "function_call":
            faults.append(f"{event['item_id']} is no function call")
        elif output is not None and output.item.get("call_id") != event["call_id"]:
            faults.append(f"the item has the call_id {output.item.get('call_id')}")
        return output, faults


def _kind(event: JsonObject) -> str:
    return "text" if event["type"].startswith("response.output_text.") else "audio"


def _content_words(part: dict[str, Any]) -> str:
    return part.get("transcript" if part.get("type") == "output_audio" else "text") or ""
