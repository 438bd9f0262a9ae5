"""The door of the OpenAI Realtime API: a WebSocket at `/v1/realtime` becomes a call.

Owns what the upgrade's request asks for and how it is refused. It must not know what an agent does with the
call, nor frames.

    ?model=NAME             the model, as the session will show it
    ?intent=transcription   a session that only transcribes
    ?call_id=CALL           attach to a call in progress (see `realtime_sideband.py`)
    ?legato_resume=...      a call that outlives its connection (see `realtime_resuming.py`)

Other parameters are ignored: stock clients send some of their own. The key comes as `Authorization: Bearer`,
or from a browser, which cannot set headers, as the subprotocol `openai-insecure-api-key.KEY`. Refusals are
HTTP answers in the shape of OpenAI's errors.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec
import structlog

from legato.core.dialects.realtime.compat_session import CompatSession
from legato.core.dialects.realtime.session_settings import SessionType
from legato.core.events import AudioReceived, EventReceived, SessionEnded
from legato.server.auth import Authority, Grant, Unauthorized, bearer_token
from legato.server.realtime_http import REALTIME_PATH, error_body, refuse
from legato.server.realtime_line import CompatLine
from legato.server.realtime_resuming import AFTER, ON, RESUME
from legato.server.realtime_sideband import Sideband, receive
from legato.server.sessions import Caller, LiveCall, LiveCalls, new_id
from legato.transports.messages import MessageHandler, MessageLimits
from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_upgrade import IncomingWebSocket

__all__ = ["CALL_ID_HEADER", "REALTIME_PATH", "RealtimeDoor"]

CALL_ID_HEADER = "x-legato-call-id"
"""Where the upgrade's answer names the call: no event of the API does."""

SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."

MOST_SIDEBANDS = 8
"""Connections attached to one call at once."""

_MOST_PARAMETERS = 32
_NAME_CHARACTERS = 200

log = structlog.get_logger(__name__)


class RealtimeDoor:
    """Lets callers with a client of the Realtime API in."""

    def __init__(
        self,
        calls: LiveCalls,
        authority: Authority,
        unready: Callable[[], str | None],
        window_s: float = 60,
    ) -> None:
        """Let callers with a key of `authority` into `calls`, unless `unready` gives a reason not to. Calls
        that want to wait `window_s` seconds for a client that lost its connection."""
        self._window_s = window_s
        self._lines: dict[str, CompatLine] = {}
        self._calls = calls
        self._authority = authority
        self._unready = unready

    def open(self, incoming: IncomingWebSocket) -> None:
        """Answer one upgrade."""
        try:
            grant = self._authority.admit(_token(incoming), incoming.header("origin"))
            self._admitted(incoming, grant)
        except Unauthorized as refusal:
            log.warning("call refused", remote=incoming.remote, reason=str(refusal))
            more = [("WWW-Authenticate", "Bearer")] if refusal.status == HTTPStatus.UNAUTHORIZED else []
            refuse(incoming, refusal.status, msgspec.json.encode(refusal.as_json()), more)

    def _admitted(self, incoming: IncomingWebSocket, grant: Grant) -> None:
        try:
            query = dict(parse_qsl(incoming.query, True, max_num_fields=_MOST_PARAMETERS))
        except ValueError:
            body = error_body("The URL has too many parameters.", "invalid_url")
            refuse(incoming, HTTPStatus.BAD_REQUEST, body)
            return
        if "call_id" in query:
            self._attach(incoming, grant, query["call_id"])
        elif query.get(RESUME, ON) != ON:
            self._resume(incoming, grant, query[RESUME], query.get(AFTER))
        elif (reason := self._unready()) is not None:
            log.warning("call refused", remote=incoming.remote, reason=reason)
            body = error_body(f"The server takes no calls now ({reason}): try again.", reason, "server_error")
            refuse(incoming, HTTPStatus.SERVICE_UNAVAILABLE, body, [("Retry-After", "1")])
        else:
            self._begin(incoming, grant, query)

    def _begin(self, incoming: IncomingWebSocket, grant: Grant, query: dict[str, str]) -> None:
        model = query.get("model", "")[:_NAME_CHARACTERS] or None
        kind: SessionType = "transcription" if query.get("intent") == "transcription" else "realtime"
        settings = grant.settings(self._calls.terms.session, kind, model)
        limits = msgspec.structs.replace(self._calls.terms.limits, audio_rate=grant.limits.audio_rate)
        call_id = new_id("call")
        session = CompatSession(
            settings.input_format,
            limits,
            call_id.rpartition("_")[2],
            grant.allows("input_audio_buffer.append"),
        )
        line = CompatLine(session, self._calls.clock)
        caller = Caller(
            remote=incoming.remote,
            formats=(settings.input_format, settings.output_format),
            settings=settings,
            grant=grant,
            client=(incoming.header("user-agent") or "")[:_NAME_CHARACTERS],
            audio_as_events=True,
        )
        live = self._calls.begin(caller, line, call_id)
        session.join(live.call.dialogue, lambda: live.call.input_format)
        self._connect(live, line)
        if query.get(RESUME) == ON and self._window_s:
            self._lines[call_id] = line
            line.outlive(self._window_s, lambda reason: live.parked("transport", reason))
            self._accept(incoming, grant, call_id, line.attach)
        else:
            self._accept(incoming, grant, call_id, line.bind)
        live.call.open()

    def _resume(self, incoming: IncomingWebSocket, grant: Grant, call_id: str, after: str | None) -> None:
        """Go on with a call whose client has lost its connection."""
        live, line = self._calls.find(call_id), self._lines.get(call_id)
        # A call of somebody else looks like none, so that names cannot be tried out.
        if live is None or line is None or live.caller.grant.holder != grant.holder:
            sentence = f"There is no session to go on with: begin another one with {RESUME}={ON}."
            refuse(incoming, HTTPStatus.NOT_FOUND, error_body(sentence, "session_not_found"))
            return
        if line.unheard(after) is None:
            sentence = f"Events behind {AFTER} are not kept any more: begin another session."
            refuse(incoming, HTTPStatus.CONFLICT, error_body(sentence, "events_lost"))
            return

        def bind(connection: WebSocketConnection) -> MessageHandler:
            handler = line.attach(connection, after)
            live.continued(incoming.remote)
            return handler

        self._accept(incoming, grant, call_id, bind)

    def _connect(self, live: LiveCall, line: CompatLine) -> None:
        def ended(event: SessionEnded) -> None:
            self._lines.pop(live.id, None)
            live.ended(event.by, event.code, event.reason)

        line.reactions = {
            AudioReceived: live.call.hear_audio,
            EventReceived: lambda event: receive(live, event.event, live.caller.grant),
            SessionEnded: ended,
        }

    def _attach(self, incoming: IncomingWebSocket, grant: Grant, call_id: str) -> None:
        live = self._calls.find(call_id)
        # A call of somebody else looks like none, so that names cannot be tried out.
        if live is None or not grant.may_attend(live.caller.grant):
            body = error_body("There is no call in progress with this call_id.", "call_id_not_found")
            refuse(incoming, HTTPStatus.NOT_FOUND, body)
            return
        if live.attended >= MOST_SIDEBANDS:
            body = error_body(
                f"This call has {MOST_SIDEBANDS} connections attached already.", "too_many_attached"
            )
            refuse(incoming, HTTPStatus.TOO_MANY_REQUESTS, body, [("Retry-After", "5")])
            return
        self._accept(incoming, grant, call_id, Sideband(live, grant).bind)

    def _accept(
        self,
        incoming: IncomingWebSocket,
        grant: Grant,
        call_id: str,
        bind: Callable[[WebSocketConnection], MessageHandler],
    ) -> None:
        incoming.accept(
            bind,
            subprotocol=SUBPROTOCOL if SUBPROTOCOL in incoming.subprotocols else None,
            headers=[(CALL_ID_HEADER, call_id)],
            limits=MessageLimits(message_bytes=grant.limits.event_bytes),
        )


def _token(incoming: IncomingWebSocket) -> str | None:
    """Return the key that the request carries, if any."""
    if (token := bearer_token(incoming.header("authorization"))) is not None:
        return token
    offers = incoming.subprotocols
    return next((o.removeprefix(KEY_SUBPROTOCOL) for o in offers if o.startswith(KEY_SUBPROTOCOL)), None)
