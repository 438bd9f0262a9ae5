"""The account of a conversation: from a call's events to turns with their texts and times.

Owns which event belongs to which turn, and every figure that is shown. Sans-IO: events carry their own
moments (microseconds on the client's clock), nobody here waits. Positions are samples at the output rate.

A turn is what the caller says and what is answered to it. A response belongs to the turn in which it was
created, its audio with it, and it stays there when the caller barges in and the next turn begins. A turn is
settled when all its responses are done and all their audio was played or flushed.
"""

from dataclasses import dataclass, field
from typing import Any

from legato.cli.talking.view import (
    Ahead,
    Answered,
    Leaving,
    Reconnected,
    Speaking,
    TurnOver,
    Understood,
    View,
)
from legato.client.events import (
    ClientEvent,
    Interrupted,
    PlaybackChanged,
    ReplyArrived,
    ReplyBegan,
    Resumed,
    ServerEvent,
    ServerLeaving,
)

_TRANSCRIPTION = "conversation.item.input_audio_transcription."


@dataclass(slots=True)
class Part:
    """One reply part: when it came, how long it is, how much of it was played."""

    began_us: int
    arrived_us: int | None = None
    samples: int = 0
    """Received so far, as far as known; the whole length once it has arrived."""
    played: int = 0
    underruns: int = 0
    over: bool = False


@dataclass(slots=True, eq=False)
class Turn:
    """What was said, heard, answered and played, and when. `rate` is that of the reply."""

    number: int
    said: str
    started_us: int
    rate: int
    speech_end_us: int | None = None
    transcripts: list[str] = field(default_factory=list)
    partial: str = ""
    recognised_us: int | None = None
    answers: dict[str, str] = field(default_factory=dict)
    """Text by response, in the order of the responses."""
    statuses: dict[str, str] = field(default_factory=dict)
    """How each response ended; "in_progress" until it did."""
    parts: dict[int, Part] = field(default_factory=dict)
    """Audio by generation."""
    first_played_us: int | None = None
    interrupted_us: int | None = None
    lead_samples: int = 0
    reported: bool = False

    @property
    def heard(self) -> str:
        """What was recognised, so far."""
        return " ".join(text for text in (*self.transcripts, self.partial.strip()) if text)

    @property
    def answer(self) -> str:
        """What was answered, so far."""
        return " ".join(text.strip() for text in self.answers.values() if text.strip())

    @property
    def began_us(self) -> int | None:
        """When the first reply sample was received."""
        return min((part.began_us for part in self.parts.values()), default=None)

    @property
    def settled(self) -> bool:
        """Whether there was an answer and nothing of it is still to come."""
        finished = all(status != "in_progress" for status in self.statuses.values())
        silent = all(part.over for part in self.parts.values())
        return bool(self.statuses or self.parts) and finished and silent

    @property
    def wordless(self) -> bool:
        """Whether there is a reply without any text: an echo, which ends only with the call."""
        return bool(self.parts) and not self.answer

    @property
    def reply_ms(self) -> float:
        """How long the reply is, as far as it was received."""
        return 1000 * sum(part.samples for part in self.parts.values()) / self.rate

    @property
    def played_ms(self) -> float:
        """How much of the reply was played."""
        return 1000 * sum(part.played for part in self.parts.values()) / self.rate

    @property
    def lead_ms(self) -> float:
        """How far delivery ran ahead of playback, at its most."""
        return 1000 * self.lead_samples / self.rate

    @property
    def delivered_ms(self) -> float | None:
        """How long the reply took from its first sample received to its last."""
        ends = [part.arrived_us for part in self.parts.values()]
        if self.began_us is None or any(end is None for end in ends):
            return None
        return (max(end for end in ends if end is not None) - self.began_us) / 1000

    @property
    def underruns(self) -> int:
        """How often playback ran dry."""
        return sum(part.underruns for part in self.parts.values())

    def since_speech_ms(self, at_us: int | None) -> float | None:
        """Time from the end of speech to `at_us`; None while either is unknown."""
        if at_us is None or self.speech_end_us is None:
            return None
        return (at_us - self.speech_end_us) / 1000


class TurnLog:
    """Feeds a view with what happens, turn by turn.

    Turns are begun by the caller's side (`begin`), or, with `automatic`, by the server's voice activity
    events; then `stream_start_us` tells when the first sample was captured.
    """

    def __init__(self, view: View, rate: int, *, automatic: bool = False, stream_start_us: int = 0) -> None:
        """Start without turns; replies come at `rate` samples per second."""
        self.turns: list[Turn] = []
        self.automatic = automatic
        self.stream_start_us = stream_start_us
        self._view = view
        self._rate = rate
        self._by_response: dict[str, Turn] = {}
        self._by_generation: dict[int, Turn] = {}
        self._silence_ms = 0

    @property
    def current(self) -> Turn | None:
        """The newest turn."""
        return self.turns[-1] if self.turns else None

    def begin(self, said: str, at_us: int) -> Turn:
        """The caller begins to speak."""
        turn = Turn(len(self.turns) + 1, said, at_us, self._rate)
        self.turns.append(turn)
        self._view.show(Speaking(turn))
        return turn

    def speech_ended(self, at_us: int) -> None:
        """The caller's last voiced sample was captured at `at_us`."""
        if self.current is not None:
            self.current.speech_end_us = at_us

    def feed(self, event: ClientEvent) -> None:
        """Take one event of the call into account."""
        match event:
            case ServerEvent():
                self._server_event(event.type, event.event, event.at_us)
            case ReplyBegan():
                self._reply_began(event)
            case ReplyArrived():
                self._reply_arrived(event)
            case PlaybackChanged():
                self._playback(event)
            case Interrupted():
                self._interrupted(event)
            case ServerLeaving():
                self._view.show(Leaving(event.in_ms))
            case Resumed(welcome):
                lost_ms = event.lost_samples * 1000 // welcome.input.rate
                self._view.show(Reconnected(welcome.resumed, event.gap_ms, lost_ms))
        self._report_settled()

    def note_lead(self, samples: int) -> None:
        """`samples` of the reply are received and not played."""
        turn = self._answered()
        if turn is not None:
            turn.lead_samples = max(turn.lead_samples, samples)
            self._view.show(Ahead(turn, samples))

    def report(self, turn: Turn) -> None:
        """Nothing more is expected of `turn`."""
        if not turn.reported:
            turn.reported = True
            self._view.show(TurnOver(turn))

    def finish(self) -> None:
        """The conversation is over: report what is unreported."""
        for turn in self.turns:
            self.report(turn)

    def _server_event(self, kind: str, event: dict[str, Any], at_us: int) -> None:
        if kind in ("session.created", "session.updated"):
            self._silence_ms = _silence_ms(event)
            return
        if self.automatic and kind.startswith("input_audio_buffer.speech_"):
            self._voice_activity(kind, event, at_us)
            return
        if not kind.startswith((_TRANSCRIPTION, "response.")):
            return
        turn = self._by_response.get(_response_id(event)) or self.current or self.begin("", at_us)
        if kind.startswith(_TRANSCRIPTION):
            self._transcript(turn, kind.removeprefix(_TRANSCRIPTION), event, at_us)
        else:
            self._response(turn, kind, event)

    def _voice_activity(self, kind: str, event: dict[str, Any], at_us: int) -> None:
        if kind.endswith("started"):
            if self.current is None or self.current.statuses or self.current.transcripts:
                self.begin("", at_us)
            return
        end_ms = event.get("audio_end_ms")
        known = isinstance(end_ms, int | float) and not isinstance(end_ms, bool)
        # The event counts the silence that ended the turn; people stopped speaking before it.
        ended_ms = end_ms - self._silence_ms if known and end_ms is not None else None
        self.speech_ended(at_us if ended_ms is None else self.stream_start_us + round(ended_ms * 1000))

    def _transcript(self, turn: Turn, step: str, event: dict[str, Any], at_us: int) -> None:
        if step == "delta":
            turn.partial += _text(event, "delta")
            self._view.show(Understood(turn, final=False))
        elif step == "completed":
            turn.partial = ""
            turn.recognised_us = at_us
            if transcript := _text(event, "transcript").strip():
                turn.transcripts.append(transcript)
            self._view.show(Understood(turn, final=True))

    def _response(self, turn: Turn, kind: str, event: dict[str, Any]) -> None:
        response = _response_id(event)
        if kind == "response.created":
            turn.statuses[response] = "in_progress"
            self._by_response[response] = turn
        elif kind == "response.output_audio_transcript.delta":
            turn.answers[response] = turn.answers.get(response, "") + _text(event, "delta")
            self._view.show(Answered(turn, final=False))
        elif kind == "response.output_audio_transcript.done":
            turn.answers[response] = _text(event, "transcript") or turn.answers.get(response, "")
            self._view.show(Answered(turn, final=True))
        elif kind == "response.done":
            body = event.get("response")
            turn.statuses[response] = (
                _text(body, "status") or "completed" if isinstance(body, dict) else "completed"
            )

    def _reply_began(self, event: ReplyBegan) -> None:
        turn = self._by_response.get(event.response_id) or self.current or self.begin("", event.at_us)
        turn.parts[event.generation] = Part(event.at_us)
        self._by_generation[event.generation] = turn

    def _reply_arrived(self, event: ReplyArrived) -> None:
        part = self._part(event.generation)
        if part is not None:
            part.arrived_us = event.at_us
            part.samples = event.samples

    def _playback(self, event: PlaybackChanged) -> None:
        turn, part = self._by_generation.get(event.generation), self._part(event.generation)
        if turn is None or part is None:
            return
        part.played = event.played
        part.samples = max(part.samples, event.played + event.buffered)
        part.underruns = event.underruns
        part.over = event.state in ("done", "stopped")
        turn.lead_samples = max(turn.lead_samples, event.buffered)
        if turn.first_played_us is None and event.state == "playing":
            turn.first_played_us = event.at_us
        if event.state == "stopped":
            turn.interrupted_us = turn.interrupted_us or event.at_us

    def _interrupted(self, event: Interrupted) -> None:
        for generation, turn in self._by_generation.items():
            part = turn.parts[generation]
            if event.first <= generation <= event.last and not part.over:
                part.over = True
                turn.interrupted_us = turn.interrupted_us or event.at_us

    def _part(self, generation: int) -> Part | None:
        turn = self._by_generation.get(generation)
        return turn.parts[generation] if turn is not None else None

    def _answered(self) -> Turn | None:
        return next((turn for turn in reversed(self.turns) if turn.parts), None)

    def _report_settled(self) -> None:
        # The newest turn may get another response: whoever has a plan knows when it is over.
        for turn in self.turns if self.automatic else self.turns[:-1]:
            if turn.settled:
                self.report(turn)


def _response_id(event: dict[str, Any]) -> str:
    body = event.get("response")
    return _text(body, "id") if isinstance(body, dict) else _text(event, "response_id")


def _silence_ms(event: dict[str, Any]) -> int:
    """The silence that ends a turn by the settings of a session; 0 if they do not say."""
    value: Any = event
    for key in ("session", "audio", "input", "turn_detection", "silence_duration_ms"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if type(value) is int else 0


def _text(event: dict[str, Any], key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""
