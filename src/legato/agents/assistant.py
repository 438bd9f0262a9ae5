"""The built-in assistant: hears, recognises while the person speaks, thinks, and answers sentence by
sentence.

Owns the stages, shared by all calls, and one conversation for each call (`turns`). It must not know which
implementation a stage has.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from legato._plugins import built
from legato.agents.base import Call
from legato.agents.settings import AssistantSettings
from legato.agents.stages.base import LanguageModel, SpeechToText, TextToSpeech, VoiceActivity
from legato.agents.turns import DEFAULT_VOICE, Turns
from legato.core.dialects.realtime.audio_settings import Transcription
from legato.core.dialects.realtime.session_settings import SessionDefaults
from legato.core.dialects.realtime.turn_detection import ServerVad

__all__ = ["Assistant", "Stages", "build"]


@dataclass(frozen=True, slots=True)
class Stages:
    """What an assistant is made of."""

    activity: VoiceActivity
    recognition: SpeechToText
    model: LanguageModel
    voice: TextToSpeech

    async def close(self) -> None:
        """Close all four."""
        await asyncio.gather(
            self.activity.close(), self.recognition.close(), self.model.close(), self.voice.close()
        )


class Assistant:
    """An agent: call it with each call. `warm` it before the first; `close` it when no more calls come."""

    takes_requests = True

    def __init__(self, stages: Stages, settings: AssistantSettings) -> None:
        self.session = SessionDefaults(
            instructions=settings.instructions,
            voice=settings.voice or DEFAULT_VOICE,
            transcription=Transcription(
                model=settings.stt_model if settings.stt == "openai" else settings.stt
            ),
            turn_detection=ServerVad(
                threshold=settings.vad_threshold,
                prefix_padding_ms=settings.prefix_ms,
                silence_duration_ms=settings.silence_ms,
            ),
        )
        """What a session that asks for nothing gets."""
        self._stages = stages
        self._settings = settings
        self._executor = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="hearing")

    async def __call__(self, call: Call) -> None:
        """Hold one conversation, until the call's audio ends."""
        call.voice = self._stages.voice
        turns = Turns(call, self._stages.model, self._stages.voice, self._settings)
        try:
            await turns.listen((self._stages.activity, self._stages.recognition), self._executor)
        finally:
            await turns.close()

    async def warm(self) -> None:
        """Load what the first caller would otherwise wait for (a second or two); raises nothing."""
        await self._stages.recognition.warm()

    async def close(self) -> None:
        """Release every stage."""
        self._executor.shutdown(wait=False)
        await self._stages.close()


def _stage(step: str, name: str, settings: AssistantSettings) -> Any:
    return built("agents.stages", name if ":" in name else f"{step}_{name}", settings)


def build(settings: AssistantSettings) -> Assistant:
    """The assistant for `settings`. Raises `SettingsError` if a stage, or what it depends on, is missing."""
    return Assistant(
        Stages(
            activity=_stage("vad", settings.vad, settings),
            recognition=_stage("stt", settings.stt, settings),
            model=_stage("llm", settings.llm, settings),
            voice=_stage("tts", settings.tts, settings),
        ),
        settings,
    )
