"""Tells the caller what is being heard, in the events of the OpenAI Realtime API.

Owns how a changing hypothesis becomes text that only grows. It must not know what is answered.
"""

from collections import deque

from legato.agents.base import Call
from legato.agents.listener import Heard, PartlyRecognised, Recognised, SpeechStarted, SpeechStopped

__all__ = ["TranscriptEvents"]

_AGREEING = 3
_PREFIX = "conversation.item.input_audio_transcription"


class _Growing:
    """A hypothesis over time. Words count as settled when the last `_AGREEING` hypotheses begin with them and
    go on behind them, because the newest word is often still the beginning of another."""

    def __init__(self) -> None:
        self._recent: deque[list[str]] = deque(maxlen=_AGREEING)
        self._told: list[str] = []

    def grow(self, text: str) -> str:
        """What can be told now beyond what was told before."""
        self._recent.append(text.split())
        if len(self._recent) < _AGREEING:
            return ""
        settled: list[str] = []
        for words in zip(*(hypothesis[:-1] for hypothesis in self._recent), strict=False):
            if len(set(words)) > 1:
                break
            settled.append(words[0])
        return self._tell(settled)

    def finish(self, text: str) -> str:
        """The rest, if the final text continues what was told."""
        return self._tell(text.split())

    def _tell(self, words: list[str]) -> str:
        told = len(self._told)
        if len(words) <= told or words[:told] != self._told:
            return ""
        self._told = words
        return (" " if told else "") + " ".join(words[told:])


class TranscriptEvents:
    """Sends the events of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._growing: dict[str, _Growing] = {}

    def tell(self, heard: Heard) -> None:
        """Send what follows from `heard`, if anything."""
        if isinstance(heard, SpeechStarted):
            self._growing[heard.item] = _Growing()
            self._send("input_audio_buffer.speech_started", heard.item, audio_start_ms=heard.at_ms)
        elif isinstance(heard, SpeechStopped):
            self._send("input_audio_buffer.speech_stopped", heard.item, audio_end_ms=heard.at_ms)
        elif isinstance(heard, PartlyRecognised):
            if delta := self._growing[heard.item].grow(heard.text):
                self._send(f"{_PREFIX}.delta", heard.item, content_index=0, delta=delta)
        else:
            self._finish(heard)

    def _finish(self, heard: Recognised) -> None:
        growing = self._growing.pop(heard.item)
        if heard.error is not None:
            error = {"type": "server_error", "code": "agent_error", "message": str(heard.error)}
            self._send(f"{_PREFIX}.failed", heard.item, content_index=0, error=error)
            return
        if delta := growing.finish(heard.text):
            self._send(f"{_PREFIX}.delta", heard.item, content_index=0, delta=delta)
        self._send(f"{_PREFIX}.completed", heard.item, content_index=0, transcript=heard.text)

    def _send(self, kind: str, item: str, **fields: object) -> None:
        self._call.send({"type": kind, "item_id": item, **fields})
