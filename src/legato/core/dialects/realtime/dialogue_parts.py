"""What a dialogue consists of, and the settings all parts go by.

Owns how the parts are joined. Must not know client events or the agent's findings.
"""

from legato.core.audio import AudioFormat
from legato.core.dialects.realtime.conversation import Conversation
from legato.core.dialects.realtime.dialogue_events import DialogueEvent, Opening
from legato.core.dialects.realtime.given_audio import GivenAudio
from legato.core.dialects.realtime.idle_clock import IdleClock
from legato.core.dialects.realtime.input_buffer import InputBuffer
from legato.core.dialects.realtime.kept_audio import KeptAudio
from legato.core.dialects.realtime.ordered_items import OrderedItems
from legato.core.dialects.realtime.outbox import Outbox
from legato.core.dialects.realtime.responses import Responses
from legato.core.dialects.realtime.session_settings import Locked, SessionSettings


class DialogueParts:
    """The parts of one dialogue."""

    def __init__(self, opening: Opening) -> None:
        kept = opening.audio_bytes if opening.keeps_audio else None
        self.opening = opening
        self.events: list[DialogueEvent] = []
        self.outbox = Outbox(opening.new_id)
        items = OrderedItems(opening.items, opening.item_bytes)
        self.conversation = Conversation(self.outbox, items, None if kept is None else KeptAudio(kept))
        self.buffer = InputBuffer(self.outbox, self.conversation, self.tell, kept, opening.origin)
        self.idle = IdleClock()
        self.given_audio = GivenAudio(self.tell if opening.answers else None, opening.audio_bytes)
        self.responses = Responses(
            self.outbox, self.conversation, self.idle, self.given_audio, self.tell, opening.responses
        )
        self.change_settings(opening.settings)

    @property
    def input_format(self) -> AudioFormat:
        """The format in which audio arrives."""
        formats = self.opening.formats
        return self.settings.input_format if formats is None else formats[0]

    @property
    def output_format(self) -> AudioFormat:
        """The format in which answers are spoken."""
        formats = self.opening.formats
        return self.settings.output_format if formats is None else formats[1]

    def tell(self, event: DialogueEvent) -> None:
        """Add an event for the owner."""
        self.events.append(event)

    def change_settings(self, settings: SessionSettings) -> None:
        """Go by these settings from now on."""
        self.settings = settings
        self.buffer.configure(settings, self.input_format)

    def say_session(self, kind: str) -> None:
        """Tell the client all settings in force."""
        opening = self.opening
        self.outbox.say(kind, session=self.settings.as_json(opening.session_id, opening.expires_at))

    def locked(self) -> Locked:
        """What the client can no longer change."""
        spoke = self.responses.spoke
        return Locked(
            voice=spoke,
            input_format=self.buffer.position > 0,
            output_format=spoke,
            speed=self.responses.active,
        )
