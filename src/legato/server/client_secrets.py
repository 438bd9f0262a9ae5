"""`POST /v1/realtime/client_secrets`: an API key's holder makes a secret for somebody they trust less.

Owns the request and the answer, in OpenAI's shape. Must not know how a secret is made or checked.

The body may have, beside OpenAI's `expires_after` and `session`, the member `allowed_client_events`: a list
of event types that callers with the secret may send. It narrows what the key allows; without it, they may
send what the key may.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from legato.core.dialects.realtime.errors import EventRefused, invalid, mistyped
from legato.core.dialects.realtime.fields import Fields
from legato.core.dialects.realtime.session_settings import SessionDefaults, SessionSettings
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS
from legato.core.errors import LocalProtocolError
from legato.core.wire.messages import JsonObject
from legato.server.auth import MAX_SECRET_SECONDS, MIN_SECRET_SECONDS, Authority, Unauthorized, bearer_token
from legato.server.auth_settings import unknown_event

__all__ = ["CLIENT_SECRETS_PATH", "client_secrets"]

CLIENT_SECRETS_PATH = "/v1/realtime/client_secrets"

MAX_BODY_BYTES = 256 * 1024
DEFAULT_SECONDS = 600

_TOO_LARGE = "request_too_large"

log = structlog.get_logger(__name__)


def client_secrets(
    authority: Authority, defaults: SessionDefaults
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint for secrets of `authority`; `defaults` are what sessions here begin with."""

    async def create(request: Request) -> Response:
        try:
            token = bearer_token(request.headers.get("authorization"))
            grant = authority.admit(token, request.headers.get("origin"))
            wish = _Wish(await _body(request), defaults)
            secret = authority.issue(grant, wish.session, wish.seconds, wish.permissions)
        except Unauthorized as refusal:
            more = {"WWW-Authenticate": "Bearer"} if refusal.status == HTTPStatus.UNAUTHORIZED else None
            return JSONResponse(refusal.as_json(), refusal.status, more)
        except LocalProtocolError as refusal:
            return _refused(EventRefused("session_too_large", f"{refusal}.", "session"))
        except EventRefused as refusal:
            return _refused(refusal)
        except ClientDisconnect:
            # Nobody is there to read what was wrong.
            return Response(status_code=400)
        log.info("client secret made", caller=grant.name, seconds=wish.seconds)
        session = wish.settings.as_json(f"sess_{secrets.token_hex(8)}")
        return JSONResponse({"value": secret.value, "expires_at": secret.expires_at, "session": session})

    return create


def _refused(refusal: EventRefused) -> Response:
    error = refusal.as_error()
    # HTTP errors answer no event.
    del error["event_id"]
    return JSONResponse({"error": error}, 413 if refusal.code == _TOO_LARGE else 400)


class _Wish:
    """What the body asks for; raises `EventRefused`."""

    def __init__(self, body: JsonObject, defaults: SessionDefaults) -> None:
        fields = Fields(body)
        self.seconds = DEFAULT_SECONDS
        after = fields.within("expires_after")
        if after is not None:
            after.choice("anchor", ("created_at",))
            seconds = after.integer("seconds", MIN_SECRET_SECONDS, MAX_SECRET_SECONDS)
            self.seconds = DEFAULT_SECONDS if seconds is None else seconds
            after.end()
        self.session = fields.json_object("session")
        self.permissions = _permissions(fields)
        fields.end()
        if self.session is None:
            self.settings = SessionSettings.of(defaults=defaults)
        else:
            self.settings = SessionSettings.requested(self.session, defaults)


def _permissions(fields: Fields) -> list[str] | None:
    names = fields.array("allowed_client_events", len(CLIENT_EVENTS))
    for place, name in enumerate(names or ()):
        param = f"allowed_client_events[{place}]"
        if not isinstance(name, str):
            raise mistyped(param, "a string", name)
        mistake = unknown_event([name])
        if mistake is not None:
            raise invalid(param, f"{mistake}.")
    return names


async def _body(request: Request) -> JsonObject:
    """The body as JSON; an empty one asks for nothing. Raises `EventRefused`."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise EventRefused(_TOO_LARGE, f"The body is too large: send at most {MAX_BODY_BYTES} bytes.")
    try:
        body = msgspec.json.decode(data) if data else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise EventRefused("invalid_json", "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise EventRefused("invalid_type", "The body must be a JSON object.")
    return body
