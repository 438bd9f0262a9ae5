"""The page wire/realtime-coverage.md, the vocabulary and the `openai` package agree."""

import subprocess
import sys
from pathlib import Path

import pydantic
from openai.types.realtime.realtime_audio_config_input import RealtimeAudioConfigInput
from openai.types.realtime.realtime_audio_config_output import RealtimeAudioConfigOutput
from openai.types.realtime.realtime_response_create_params import RealtimeResponseCreateParams
from openai.types.realtime.realtime_session_create_request import RealtimeSessionCreateRequest

from legato.core.dialects.realtime.session_settings import ResponseSettings
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS, SERVER_EVENTS, SETTINGS
from legato.testing.realtime.schema import client_event_names, server_event_names

ROOT = Path(__file__).resolve().parents[2]


def members(model: type[pydantic.BaseModel], prefix: str = "") -> set[str]:
    return {prefix + name for name in model.model_fields}


def test_the_page_is_current() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "realtime_coverage.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_no_event_of_the_installed_package_is_missing() -> None:
    assert set(CLIENT_EVENTS) == client_event_names()
    assert set(SERVER_EVENTS) == server_event_names()


def test_no_setting_of_the_installed_package_is_missing() -> None:
    known = members(RealtimeSessionCreateRequest) - {"audio"}
    known |= members(RealtimeAudioConfigInput, "audio.input.")
    known |= members(RealtimeAudioConfigOutput, "audio.output.")
    assert set(SETTINGS) == known


def test_no_override_of_the_installed_package_is_missing() -> None:
    ours = set(ResponseSettings.__struct_fields__)
    renamed = {"reasoning": "reasoning_effort", "audio": "voice"}
    refused = {"prompt"}
    for name in members(RealtimeResponseCreateParams) - refused:
        assert renamed.get(name, name) in ours
