"""Recognition by any endpoint with OpenAI's `POST /audio/transcriptions`: one WAV for each stretch of
speech."""

import io
import json

from legato.agents.settings import AssistantSettings
from legato.agents.whole_text import whole
from legato.audio.wav import write_wav
from legato.core.errors import AgentError

from .base import HEARING_RATE, NO_HINTS, Hints, SpeechToTextCapabilities
from .openai_http import Endpoint

__all__ = ["OpenAISpeechToText", "build"]


class OpenAISpeechToText:
    """Sends speech when it has ended."""

    capabilities = SpeechToTextCapabilities(partials=False)

    def __init__(self, endpoint: Endpoint, model: str, language: str) -> None:
        self._endpoint = endpoint
        self._fields = {"model": model, "response_format": "json", "language": language}

    def open(self, caller: str = "", hints: Hints = NO_HINTS) -> "_Recogniser":
        """A recogniser for one stretch of speech."""
        return _Recogniser(self, hints)

    async def transcribe(self, pcm: bytes, hints: Hints) -> str:
        """The text of mono s16le at `HEARING_RATE`."""
        fields = dict(self._fields)
        if hints.language:
            fields["language"] = hints.language
        if hints.prompt:
            fields["prompt"] = hints.prompt
        wav = io.BytesIO()
        write_wav(wav, pcm, HEARING_RATE)
        files = {"file": ("speech.wav", wav.getvalue(), "audio/wav")}
        async with self._endpoint.post("audio/transcriptions", data=fields, files=files) as response:
            body = await self._endpoint.whole(response)
        try:
            return whole(str(json.loads(body)["text"])).strip()
        except (ValueError, LookupError, TypeError) as error:
            raise AgentError("the recognition endpoint's answer has no text") from error

    async def warm(self) -> None:
        """There is nothing to get ready."""

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()


class _Recogniser:
    def __init__(self, owner: OpenAISpeechToText, hints: Hints) -> None:
        self._owner = owner
        self._hints = hints
        self._heard = bytearray()
        self._closed = False

    async def feed(self, pcm: bytes) -> str | None:
        """Keep more audio."""
        if self._closed:
            raise AgentError("the recogniser has been closed")
        self._heard += pcm
        return None

    async def finish(self) -> str:
        """Ask the endpoint."""
        if self._closed:
            raise AgentError("the recogniser has been closed")
        return await self._owner.transcribe(bytes(self._heard), self._hints) if self._heard else ""

    async def close(self) -> None:
        """Forget the audio."""
        self._closed = True
        self._heard.clear()


def build(settings: AssistantSettings) -> OpenAISpeechToText:
    """The stage for `settings`."""
    endpoint = Endpoint("speech recognition", settings.stt_url, settings.stt_key, settings.endpoint_timeout_s)
    return OpenAISpeechToText(endpoint, settings.stt_model, settings.language)
