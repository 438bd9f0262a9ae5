"""Reads wire/vectors and replays sessions from them against the core."""

import json
from pathlib import Path
from typing import Any

import msgspec

from legato.core.audio import AudioFormat
from legato.core.client_session import ClientSession
from legato.core.outputs import CloseSession, OpenStream, Reset, Send, SendDatagram, Stop
from legato.core.server_session import ServerSession
from legato.core.session import Session
from legato.core.terms import Terms
from legato.core.wire.codes import RecordType
from legato.core.wire.messages import Hello, Limits
from legato.core.wire.records import ControlReader

WIRE = Path(__file__).parents[2] / "wire"


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((WIRE / "vectors" / name).read_text())["cases"]
    return found


def label(case: dict[str, Any]) -> str:
    return f"{case.get('role', '')} {case.get('name', case.get('hex', ''))}".strip()


def session_for(case: dict[str, Any]) -> Session:
    limits = msgspec.convert(case.get("limits", {}), Limits)
    if case["role"] == "server":
        return ServerSession(0, limits)
    client = ClientSession(msgspec.convert(case["hello"], Hello), 0, limits=limits)
    client.outputs()
    return client


def replay(session: Session, step: dict[str, Any]) -> None:
    """Do what a step says."""
    now = step["at"]
    match step["do"]:
        case "stream_opened":
            session.stream_opened(step["stream"], step["bidirectional"], now)
        case "receive":
            last = len(step["chunks"]) - 1
            for index, chunk in enumerate(step["chunks"]):
                fin = step["fin"] and index == last
                session.receive(step["stream"], bytes.fromhex(chunk), fin, now)
        case "stream_reset":
            session.stream_reset(step["stream"], step["code"], now)
        case "stream_stopped":
            session.stream_stopped(step["stream"], step["code"], now)
        case "datagram":
            session.datagram(bytes.fromhex(step["hex"]), now)
        case "closed":
            session.closed(step["by"], step["code"], step["reason"], now)
        case "on_deadline":
            session.on_deadline(now)
        case _:
            assert isinstance(session, ServerSession)
            operate(session, step, now)


def operate(session: ServerSession, step: dict[str, Any], now: int) -> None:
    match step["do"]:
        case "accept":
            session.accept(msgspec.convert(step["terms"], Terms), now)
        case "begin_reply":
            form = msgspec.convert(step["format"], AudioFormat)
            session.begin_reply(step["response_id"], step["item_id"], form, now)
        case "send_audio":
            payload = bytes.fromhex(step["payload"])
            assert session.send_audio(step["generation"], payload, step["samples"], now)
        case "flush":
            session.flush(now)
        case "going_away":
            session.going_away(step["in_ms"], now)
        case unknown:
            raise AssertionError(unknown)


def reported(session: Session) -> list[dict[str, Any]]:
    """The events of a session in the notation of the vectors."""
    found = []
    for event in session.events():
        name = "".join("_" + c.lower() if c.isupper() else c for c in type(event).__name__)[1:]
        value = plain(event)
        # What is about one message is written as that message.
        inner = value[next(iter(value))] if len(value) == 1 or name == "welcomed" else value
        found.append({name: inner if isinstance(inner, dict) else value})
    return found


def asked_for(session: Session, control: int) -> list[dict[str, Any]]:
    """The outputs of a session in the notation of the vectors: all but bytes on audio streams."""
    found: list[dict[str, Any]] = []

    def event(kind: int, payload: bytes, now: int) -> None:
        assert kind == RecordType.EVENT
        found.append({"event": json.loads(payload)})

    reader = ControlReader(1 << 20, event)
    for output in session.outputs():
        match output:
            case OpenStream(key, bidirectional, _):
                found.append({"open": key, "bidirectional": bidirectional})
            case Send(key, data, _):
                if key == control:
                    reader.feed(data, 0)
            case Reset(key, code):
                found.append({"reset": key, "code": code})
            case Stop(stream, code):
                found.append({"stop": stream, "code": code})
            case SendDatagram(data):
                found.append({"datagram": data.hex()})
            case CloseSession(code, _):
                found.append({"close": code})
            case unknown:
                raise AssertionError(unknown)
    return found


def plain(value: object) -> Any:
    """A value of the core as JSON types, bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def covers(found: Any, expected: Any) -> bool:
    """Whether `found` says what `expected` says; members that `expected` does not name are free."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name in found and covers(found[name], one) for name, one in expected.items()
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(covers, found, expected))
    return bool(found == expected)
