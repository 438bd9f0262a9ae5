"""What the Realtime API answers over plain HTTP, and how it refuses: errors in OpenAI's shape.

Owns the API's routes and that shape. Must not know calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from legato.core.dialects.realtime.session_settings import SessionDefaults
from legato.server.auth import Authority
from legato.server.client_secrets import CLIENT_SECRETS_PATH, client_secrets
from legato.transports.websocket_upgrade import IncomingWebSocket

__all__ = ["REALTIME_PATH", "error_body", "realtime_routes", "refuse"]

REALTIME_PATH = "/v1/realtime"

_JSON = "application/json"


def error_body(message: str, code: str, kind: str = "invalid_request_error") -> bytes:
    """Return the body of a refusal in OpenAI's shape."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"error": error})


def refuse(
    incoming: IncomingWebSocket, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()
) -> None:
    """Refuse an upgrade with a JSON body."""
    incoming.reject(status, body, [("Content-Type", _JSON), *headers])


def realtime_routes(authority: Authority, defaults: SessionDefaults) -> list[Route]:
    """Return the API's routes; `defaults` are what sessions begin with."""
    return [
        Route(CLIENT_SECRETS_PATH, client_secrets(authority, defaults), methods=["POST"]),
        Route(REALTIME_PATH, _websocket_needed),
        Route(f"{REALTIME_PATH}/{{rest:path}}", _nothing_here, methods=["GET", "POST"]),
    ]


async def _nothing_here(_: Request) -> Response:
    sentence = f"There is nothing at this path: calls are WebSockets at {REALTIME_PATH}, there is no WebRTC."
    return Response(error_body(sentence, "not_found"), HTTPStatus.NOT_FOUND, media_type=_JSON)


async def _websocket_needed(_: Request) -> Response:
    body = error_body("Connect with a WebSocket: this is no page.", "upgrade_required")
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return Response(body, HTTPStatus.UPGRADE_REQUIRED, headers, _JSON)
