"""`POST /v1/realtime/client_secrets`: what is answered, and what is refused how."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import ClientSecretCreateResponse
from starlette.applications import Starlette
from starlette.routing import Route

from legato.core.dialects.realtime.session_settings import SessionDefaults
from legato.server.auth import Authority
from legato.server.auth_settings import ApiKey, AuthSettings, hash_of_key
from legato.server.client_secrets import CLIENT_SECRETS_PATH, MAX_BODY_BYTES, client_secrets
from legato.server.settings import ServerSettings
from legato.trust import new_api_key

KEY = new_api_key()
NARROW_KEY = new_api_key()
NOW = 1_800_000_000
DEFAULTS = SessionDefaults(model="test-model", voice="test-voice")


def new_authority(required: bool = True) -> Authority:
    narrow = ("session.update", "response.create")
    keys = (
        ApiKey(name="web", hash=hash_of_key(KEY)),
        ApiKey(name="narrow", hash=hash_of_key(NARROW_KEY), permissions=narrow),
    )
    return Authority(ServerSettings(auth=AuthSettings(keys=keys, required=required)), lambda: NOW)


AUTHORITY = new_authority()


async def post(
    body: Any = None, key: str | None = KEY, authority: Authority = AUTHORITY, **headers: str
) -> httpx.Response:
    """Post a body: JSON of a value, or bytes as they are."""
    route = Route(CLIENT_SECRETS_PATH, client_secrets(authority, DEFAULTS), methods=["POST"])
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    transport = httpx.ASGITransport(Starlette(routes=[route]))
    async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
        return await client.post(CLIENT_SECRETS_PATH, content=content, headers=headers)


def error(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """The message of an error in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    told = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(told) == {"message", "type", "param", "code"}
    assert (told["code"], told["param"]) == (code, param)
    message: str = told["message"]
    return message


class TestAnswers:
    async def test_nothing_asked_for_gives_the_usual_session_for_ten_minutes(self) -> None:
        answer = await post()
        assert answer.status_code == 200
        secret = ClientSecretCreateResponse.model_validate(answer.json())
        assert secret.value.startswith("ek_")
        assert secret.expires_at == NOW + 600
        assert secret.session.type == "realtime"
        assert (secret.session.id[:5], secret.session.object) == ("sess_", "realtime.session")
        assert (secret.session.model, secret.session.audio.output.voice) == ("test-model", "test-voice")  # type: ignore[union-attr]
        assert AUTHORITY.admit(secret.value).session is None

    async def test_no_body_at_all_is_nothing_asked_for(self) -> None:
        assert (await post(b"")).status_code == 200

    async def test_the_session_is_told_whole_and_the_secret_brings_what_was_asked_for(self) -> None:
        session = {
            "type": "realtime",
            "model": "mine",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
        }
        after = {"anchor": "created_at", "seconds": 7200}
        told = (await post({"session": session, "expires_after": after})).json()
        assert told["expires_at"] == NOW + 7200
        assert told["session"]["instructions"] == "Be brief."
        assert told["session"]["audio"]["output"]["voice"] == "test-voice"
        grant = AUTHORITY.admit(told["value"])
        assert grant.session == session
        settings = grant.settings(DEFAULTS)
        assert (settings.model, settings.output_modalities) == ("mine", ("text",))
        assert settings.as_json(told["session"]["id"]) == told["session"]

    async def test_transcription_sessions(self) -> None:
        answer = await post(
            {"session": {"type": "transcription", "audio": {"input": {"turn_detection": None}}}}
        )
        secret = ClientSecretCreateResponse.model_validate(answer.json())
        assert secret.session.object == "realtime.transcription_session"
        settings = AUTHORITY.admit(secret.value).settings(DEFAULTS)
        assert (settings.type, settings.turn_detection) == ("transcription", None)

    async def test_permissions_narrow_those_of_the_key(self) -> None:
        asked = {"allowed_client_events": ["response.create", "response.cancel"]}
        free = (await post(asked)).json()["value"]
        assert AUTHORITY.admit(free).permissions == {"response.create", "response.cancel"}
        narrow = (await post(asked, NARROW_KEY)).json()["value"]
        assert AUTHORITY.admit(narrow).permissions == {"response.create"}
        whole = (await post(None, NARROW_KEY)).json()["value"]
        assert AUTHORITY.admit(whole).permissions == {"response.create", "session.update"}

    async def test_where_no_key_is_needed_anyone_is_answered(self) -> None:
        answer = await post(None, None, new_authority(required=False), origin="http://localhost:8000")
        assert answer.status_code == 200


class TestRefusals:
    async def test_without_a_key(self) -> None:
        message = error(await post(None, None), 401, "missing_api_key")
        assert "Authorization: Bearer" in message
        error(await post(None, None, authorization=KEY), 401, "missing_api_key")
        error(await post(None, None, authorization="Basic " + KEY), 401, "missing_api_key")

    async def test_with_a_wrong_key(self) -> None:
        error(await post(None, new_api_key()), 401, "invalid_api_key")

    async def test_with_a_client_secret(self) -> None:
        secret = (await post()).json()["value"]
        assert "use the API key" in error(await post(None, secret), 403, "insufficient_permissions")

    async def test_from_a_page_elsewhere_where_no_key_is_needed(self) -> None:
        answer = await post(None, None, new_authority(required=False), origin="https://example.com")
        error(answer, 403, "origin_not_allowed")

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            (b"{", "invalid_json", None),
            (b"\xff", "invalid_json", None),
            (b"[" * 100_000, "invalid_json", None),
            (b"[]", "invalid_type", None),
            ({"expires_after": 600}, "invalid_type", "expires_after"),
            ({"expires_after": {"seconds": "600"}}, "invalid_type", "expires_after.seconds"),
            ({"expires_after": {"seconds": 9}}, "integer_below_min_value", "expires_after.seconds"),
            ({"expires_after": {"seconds": 7201}}, "integer_above_max_value", "expires_after.seconds"),
            ({"expires_after": {"anchor": "last_used"}}, "invalid_value", "expires_after.anchor"),
            ({"expires_after": {"minutes": 1}}, "unknown_parameter", "expires_after.minutes"),
            ({"model": "mine"}, "unknown_parameter", "model"),
            ({"session": []}, "invalid_type", "session"),
            ({"session": {}}, "missing_required_parameter", "session.type"),
            ({"session": {"type": "live"}}, "invalid_value", "session.type"),
            ({"session": {"type": "realtime", "modalities": []}}, "unknown_parameter", "session.modalities"),
            (
                {"session": {"type": "realtime", "audio": {"output": {"speed": 9.5}}}},
                "decimal_above_max_value",
                "session.audio.output.speed",
            ),
            ({"allowed_client_events": "response.create"}, "invalid_type", "allowed_client_events"),
            ({"allowed_client_events": [1]}, "invalid_type", "allowed_client_events[0]"),
            (
                {"allowed_client_events": ["response.create", "response.creat"]},
                "invalid_value",
                "allowed_client_events[1]",
            ),
            (
                {"allowed_client_events": ["response.create"] * 12},
                "array_above_max_length",
                "allowed_client_events",
            ),
        ],
    )
    async def test_of_a_body_name_what_is_wrong(self, body: Any, code: str, param: str | None) -> None:
        message = error(await post(body), 400, code, param)
        assert len(message.splitlines()) == 1

    async def test_a_misspelt_event_is_guessed(self) -> None:
        answer = await post({"allowed_client_events": ["response.creat"]})
        assert "did you mean response.create?" in answer.json()["error"]["message"]

    async def test_a_session_that_no_secret_can_hold(self) -> None:
        noise = "".join(chr(0x4E00 + n * n * 7919 % 20_000) for n in range(9_000))
        answer = await post({"session": {"type": "realtime", "instructions": noise}})
        assert "session.update" in error(answer, 400, "session_too_large", "session")

    async def test_a_body_beyond_all_reason(self) -> None:
        error(await post(b" " * (MAX_BODY_BYTES + 1)), 413, "request_too_large")

    async def test_a_body_is_not_read_before_the_key_is_known(self) -> None:
        error(await post(b"{", None), 401, "missing_api_key")

    async def test_a_client_that_leaves_in_the_middle_is_no_failure_of_ours(self) -> None:
        parts: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return parts.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {KEY}".encode())]
        scope = {"type": "http", "method": "POST", "path": CLIENT_SECRETS_PATH, "headers": headers}
        await Route(CLIENT_SECRETS_PATH, client_secrets(AUTHORITY, DEFAULTS), methods=["POST"]).handle(
            {**scope, "query_string": b""}, receive, send
        )
        assert sent[0]["status"] == 400

    @given(st.binary(max_size=64))
    def test_no_body_is_a_failure_of_ours(self, body: bytes) -> None:
        assert asyncio.run(post(body)).status_code in (200, 400)
