"""Synthesis by any endpoint with OpenAI's `POST /audio/speech`, handed on while it arrives.

Owns the two forms the sound may come in: raw s16le at 24 kHz, as asked for, or a WAV file, which some
endpoints send whatever is asked.
"""

import struct
from collections.abc import AsyncGenerator
from typing import Any

from legato.agents.base import Speech
from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError

from .base import USUAL, Delivery, TextToSpeechCapabilities
from .openai_http import Endpoint

__all__ = ["OpenAITextToSpeech", "build"]

_RAW_RATE = 24_000
_LONGEST_HEAD = 4_096
_LOWEST_RATE, _HIGHEST_RATE, _RATE_STEP = 4_000, 192_000, 25
"""What a rate can be: to change one into another, where they have next to nothing in common, takes a filter
that would not fit into the memory."""
_PCM, _EXTENSIBLE = 1, 0xFFFE


class OpenAITextToSpeech:
    """Asks for each text with one request."""

    capabilities = TextToSpeechCapabilities(streams=True)

    def __init__(self, endpoint: Endpoint, model: str, voice: str) -> None:
        self._endpoint = endpoint
        self._fields = {"model": model, "voice": voice, "response_format": "pcm"}

    async def speak(self, text: str, delivery: Delivery = USUAL) -> AsyncGenerator[Speech, None]:
        """`text` as speech."""
        if not any(char.isalnum() for char in text):
            return
        label, sound = text, _Sound()
        fields: dict[str, Any] = {**self._fields, "input": text}
        if delivery.voice:
            fields["voice"] = delivery.voice
        if delivery.speed != 1.0:
            fields["speed"] = delivery.speed
        async with self._endpoint.post("audio/speech", json=fields) as response:
            async for data in response.aiter_bytes():
                if pcm := sound.feed(data):
                    yield Speech(pcm, sound.rate, label)
                    label = ""
        if label:
            raise AgentError("the speech endpoint gave no audio", retryable=True)

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()


class _Sound:
    """Bytes as they arrive in, whole samples out; finds out by the first four which form they have."""

    def __init__(self) -> None:
        self.rate = _RAW_RATE
        self._waiting = b""
        self._head = True
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """The samples that are complete now. Raises `AgentError` for a WAV file that is not 16-bit mono
        PCM."""
        self._waiting += data
        if self._head:
            if len(self._waiting) < 4:
                return b""
            if self._waiting.startswith(b"RIFF") and not self._skip_head():
                return b""
            self._head = False
        whole = len(self._waiting) & ~1
        if self._left is not None:
            whole = min(whole, self._left & ~1)
            self._left -= whole
        pcm, self._waiting = self._waiting[:whole], self._waiting[whole:]
        return pcm

    def _skip_head(self) -> bool:
        """Read the chunks before the samples; False while they are not all here."""
        place = 12
        while place + 8 <= len(self._waiting):
            name, size = struct.unpack_from("<4sI", self._waiting, place)
            place += 8
            if name == b"data":
                # Endpoints that stream do not know the size and write 0 or the largest number.
                self._left = size if 0 < size < 0x7FFF_0000 else None
                self._waiting = self._waiting[place:]
                return True
            if name == b"fmt " and place + 16 <= len(self._waiting):
                kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", self._waiting, place)
                if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16:
                    raise AgentError(
                        f"speech comes as WAV with {channels} channels of {bits} bits, not 1 of 16"
                    )
                if not (_LOWEST_RATE <= rate <= _HIGHEST_RATE) or rate % _RATE_STEP:
                    raise AgentError(f"speech comes as WAV of {rate} samples per second, which nobody plays")
                self.rate = rate
            place += size + (size & 1)
        if len(self._waiting) > _LONGEST_HEAD:
            raise AgentError("speech comes as WAV without samples")
        return False


def build(settings: AssistantSettings) -> OpenAITextToSpeech:
    """The stage for `settings`."""
    endpoint = Endpoint("speech synthesis", settings.tts_url, settings.tts_key, settings.endpoint_timeout_s)
    return OpenAITextToSpeech(endpoint, settings.tts_model, settings.voice or "alloy")
