"""The order of events about the session, the input buffer and the items of the conversation.

    session.created comes first, conversation.created second (not in transcription sessions)
    speech_started, speech_stopped and committed name one item; the client may commit or clear in between
    timeout_triggered and committed name one item
    committed is followed by conversation.item.added of that item, at the end of the conversation
    an item is added once, done once, both before it is retrieved, truncated or transcribed to the end
    previous_item_id is an item of the conversation, or null at its front
    transcription deltas join to the transcript of completed; nothing follows completed or failed

Must not know responses, but for which items they made.
"""

from collections.abc import Callable

from legato.core.wire.messages import JsonObject

_TRANSCRIPTION = "conversation.item.input_audio_transcription."


class ConversationOrder:
    """Judges one event after the other."""

    def __init__(self, from_start: bool) -> None:
        self._from_start = from_start
        self._count = 0
        self._transcribes = False
        self._items: list[str] = []
        self._added: dict[str, JsonObject] = {}
        self._done: set[str] = set()
        self._deleted: set[str] = set()
        self._speech: JsonObject | None = None
        self._spoken: str | None = None
        self._timed_out: str | None = None
        self._committed: JsonObject | None = None
        self._transcripts: dict[tuple[str, int], str] = {}
        self._transcribed: set[tuple[str, int]] = set()
        self._last_start_ms = 0
        self.made_by_response: set[str] = set()
        self._rules: dict[str, Callable[[JsonObject], list[str]]] = {
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.timeout_triggered": self._timeout_triggered,
            "input_audio_buffer.committed": self._committed_event,
            "input_audio_buffer.cleared": self._cleared,
            "conversation.item.added": self._item_added,
            "conversation.item.done": self._item_done,
            "conversation.item.deleted": self._item_deleted,
            "conversation.item.retrieved": self._item_retrieved,
            "conversation.item.truncated": self._item_truncated,
            _TRANSCRIPTION + "delta": self._transcription_delta,
            _TRANSCRIPTION + "completed": self._transcription_completed,
            _TRANSCRIPTION + "failed": self._transcription_failed,
        }

    def is_added(self, item_id: str) -> bool:
        """Whether the conversation has taken in this item (it may have been deleted since)."""
        return item_id in self._added or not self._from_start

    def is_deleted(self, item_id: str) -> bool:
        """Whether the client deleted this item."""
        return item_id in self._deleted

    def see(self, event: JsonObject) -> list[str]:
        """What is wrong with this event after all those before it."""
        kind = event.get("type", "")
        faults = self._opening(kind, event)
        if self._committed is not None and kind != "conversation.item.added":
            faults.append(f"{self._committed['item_id']} was committed but not added to the conversation")
            self._committed = None
        rule = self._rules.get(kind)
        return faults + rule(event) if rule is not None else faults

    def unfinished(self) -> list[str]:
        """What a session that is over should not leave behind."""
        faults = [] if self._count or not self._from_start else ["there is no event at all"]
        if self._spoken is not None:
            faults.append(f"speech of {self._spoken} stopped but was not committed")
        if self._timed_out is not None:
            faults.append(f"{self._timed_out} timed out but was not committed")
        if self._committed is not None:
            faults.append(f"{self._committed['item_id']} was committed but not added to the conversation")
        open_items = [name for name in self._items if name not in self._done]
        return faults + [f"{name} was added but is not done" for name in open_items]

    def _opening(self, kind: str, event: JsonObject) -> list[str]:
        number, self._count = self._count, self._count + 1
        if not self._from_start:
            return []
        if kind == "session.created":
            self._transcribes = event["session"].get("type") == "transcription"
        second = number == 1 and not self._transcribes
        if (number == 0) != (kind == "session.created"):
            return ["session.created is the first event of a session, and comes once"]
        if second != (kind == "conversation.created"):
            return ["conversation.created is the second event of a realtime session, and comes once"]
        return []

    # Input buffer

    def _speech_started(self, event: JsonObject) -> list[str]:
        faults = []
        if self._speech is not None:
            faults.append(f"speech of {self._speech['item_id']} goes on already")
        if event["item_id"] in self._added:
            faults.append(f"{event['item_id']} is an item already")
        if event["audio_start_ms"] < self._last_start_ms:
            faults.append(f"it starts before the speech at {self._last_start_ms} ms")
        self._last_start_ms = event["audio_start_ms"]
        self._speech = event
        return faults

    def _speech_stopped(self, event: JsonObject) -> list[str]:
        started, self._speech = self._speech, None
        self._spoken = event["item_id"]
        if started is None:
            return ["no speech goes on"] if self._from_start else []
        if started["item_id"] != event["item_id"]:
            return [f"the speech that goes on is {started['item_id']}"]
        if event["audio_end_ms"] < started["audio_start_ms"]:
            return ["it ends before it started"]
        return []

    def _timeout_triggered(self, event: JsonObject) -> list[str]:
        self._timed_out = event["item_id"]
        faults = ["somebody speaks"] if self._speech is not None else []
        if event["audio_end_ms"] < event["audio_start_ms"]:
            faults.append("it ends before it started")
        return faults

    def _committed_event(self, event: JsonObject) -> list[str]:
        awaited = self._spoken or self._timed_out or (self._speech or {}).get("item_id")
        self._spoken = self._timed_out = self._speech = None
        self._committed = event
        if awaited is not None and awaited != event["item_id"]:
            return [f"what was announced is {awaited}"]
        return []

    def _cleared(self, event: JsonObject) -> list[str]:
        self._speech = None
        return []

    # Items

    def _item_added(self, event: JsonObject) -> list[str]:
        item, previous = event["item"], event.get("previous_item_id")
        name = item.get("id")
        committed, self._committed = self._committed, None
        if not isinstance(name, str):
            return ["the item has no id"]
        faults = [f"{name} was added before"] if name in self._added else []
        if committed is not None:
            faults += self._takes_in(committed, name, previous)
        if (committed is not None or name in self.made_by_response) and self._from_start:
            last = self._items[-1] if self._items else None
            if previous != last:
                faults.append(f"it stands behind {previous} instead of at the end, behind {last}")
        self._insert(name, previous, faults)
        self._added[name] = item
        return faults

    @staticmethod
    def _takes_in(committed: JsonObject, name: str, previous: object) -> list[str]:
        if committed["item_id"] != name:
            return [f"{committed['item_id']} was committed and is to be added next"]
        if committed.get("previous_item_id") != previous:
            return [f"it was committed behind {committed.get('previous_item_id')}"]
        return []

    def _insert(self, name: str, previous: object, faults: list[str]) -> None:
        if previous is None:
            self._items.insert(0, name)
        elif previous in self._items:
            self._items.insert(self._items.index(str(previous)) + 1, name)
        else:
            self._items.append(name)
            if self._from_start:
                faults.append(f"{previous} is not in the conversation")

    def _item_done(self, event: JsonObject) -> list[str]:
        name = event["item"].get("id")
        faults = self._known(name)
        if name in self._done:
            faults.append(f"{name} was done before")
        self._done.add(str(name))
        return faults

    def _item_deleted(self, event: JsonObject) -> list[str]:
        faults = self._known(event["item_id"])
        if event["item_id"] in self._items:
            self._items.remove(event["item_id"])
        self._deleted.add(event["item_id"])
        return faults

    def _item_retrieved(self, event: JsonObject) -> list[str]:
        return self._known(event["item"].get("id"))

    def _item_truncated(self, event: JsonObject) -> list[str]:
        faults = self._known(event["item_id"])
        item = self._added.get(event["item_id"])
        if item is not None and item.get("role") != "assistant":
            faults.append("only messages of the assistant are truncated")
        return faults

    def _known(self, name: object) -> list[str]:
        if name in self._deleted:
            return [f"{name} was deleted"]
        if name in self._added or not self._from_start:
            return []
        return [f"{name} was not added to the conversation"]

    # Transcription

    def _transcription_delta(self, event: JsonObject) -> list[str]:
        part = (event["item_id"], event.get("content_index") or 0)
        faults = self._transcribable(part)
        self._transcripts[part] = self._transcripts.get(part, "") + (event.get("delta") or "")
        return faults

    def _transcription_completed(self, event: JsonObject) -> list[str]:
        part = (event["item_id"], event["content_index"])
        faults = self._transcribable(part) + self._known(event["item_id"])
        joined = self._transcripts.get(part)
        if joined is not None and joined.strip() != event["transcript"].strip() and self._from_start:
            faults.append(f"its deltas say {joined!r}, it says {event['transcript']!r}")
        self._transcribed.add(part)
        return faults

    def _transcription_failed(self, event: JsonObject) -> list[str]:
        part = (event["item_id"], event["content_index"])
        faults = self._transcribable(part) + self._known(event["item_id"])
        self._transcribed.add(part)
        return faults

    def _transcribable(self, part: tuple[str, int]) -> list[str]:
        announced = {self._spoken, (self._speech or {}).get("item_id")}
        faults = [] if part[0] in announced else self._known(part[0])
        return [*faults, "its transcription was over"] if part in self._transcribed else faults
