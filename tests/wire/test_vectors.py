"""The core reads and writes exactly the bytes that wire/vectors fixes."""

import json
from typing import Any

import msgspec
import pytest
from tests.wire.vectors import asked_for, cases, covers, label, plain, replay, reported, session_for

from legato.core.audio import opus_duration_us
from legato.core.client_session import ClientSession
from legato.core.downlink_receiver import DownlinkReceiver
from legato.core.errors import RemoteProtocolError
from legato.core.events import HelloReceived, SessionEnded, Welcomed
from legato.core.outputs import CloseSession
from legato.core.server_session import ServerSession
from legato.core.state import SessionState
from legato.core.wire import varint
from legato.core.wire.codes import RecordType
from legato.core.wire.messages import Hello, Limits
from legato.core.wire.records import (
    AudioReader,
    ControlReader,
    control_record,
    downlink_record,
    uplink_record,
)

SESSIONS = cases("sessions.json")
SESSION_HELLO = next(case["hello"] for case in SESSIONS if case["role"] == "client")


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("case", cases("varint.json"), ids=label)
def test_numbers(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if case.get("incomplete"):
        assert varint.decode(data, 0) is None
        return
    assert varint.decode(b"\xaa" + data + b"\xbb", 1) == (int(case["value"]), 1 + len(data))
    if case["shortest"]:
        assert varint.encode(int(case["value"])) == data
    else:
        assert len(varint.encode(int(case["value"]))) < len(data)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("case", cases("control_records.json"), ids=label)
def test_control_records(case: dict[str, Any], size: int) -> None:
    found = []
    reader = ControlReader(
        case.get("limit", 1 << 20), lambda kind, payload, _: found.append((kind, payload.hex()))
    )
    code = None
    try:
        for chunk in chunked(bytes.fromhex(case["hex"]), size):
            reader.feed(chunk, 0)
    except RemoteProtocolError as violation:
        code = violation.code
    assert found == [(record["type"], record["payload"]) for record in case["records"]]
    assert code == case.get("code")
    if code is None:
        assert reader.within_record == case.get("unfinished", False)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("case", cases("audio_records.json"), ids=label)
def test_audio_records(case: dict[str, Any], size: int) -> None:
    found = []
    reader = AudioReader(
        case.get("limit", 1 << 16),
        case["direction"] == "uplink",
        lambda *record: found.append(record[:3]),
    )
    code = None
    try:
        for chunk in chunked(bytes.fromhex(case["hex"]), size):
            reader.feed(chunk, 0)
    except RemoteProtocolError as violation:
        code = violation.code
    expected = [
        (int(record["offset"]), int(record["captured"]), bytes.fromhex(record["payload"]))
        for record in case["records"]
    ]
    assert found == expected
    assert code == case.get("code")
    if code is None:
        assert reader.within_record == case.get("unfinished", False)


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_audio_records_are_written_as_they_are_read(direction: str) -> None:
    written = 0
    for case in cases("audio_records.json"):
        if (
            case["direction"] != direction
            or "code" in case
            or "unfinished" in case
            or "longer" in case["name"]
        ):
            continue
        data = b""
        for record in case["records"]:
            offset, payload = int(record["offset"]), bytes.fromhex(record["payload"])
            if direction == "uplink":
                data += uplink_record(offset, int(record["captured"]), payload)
            else:
                data += downlink_record(offset, payload)
        assert data.hex() == case["hex"]
        written += 1
    assert written >= 3


def test_control_records_are_written_as_they_are_read() -> None:
    case = cases("control_records.json")[0]
    assert control_record(bytes.fromhex(case["records"][0]["payload"])).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("opus_durations.json"), ids=label)
def test_opus_durations(case: dict[str, Any]) -> None:
    packet = bytes.fromhex(case["hex"])
    if case["duration_us"] is None:
        with pytest.raises(ValueError, match="Opus packet"):
            opus_duration_us(packet)
    else:
        assert opus_duration_us(packet) == case["duration_us"]


@pytest.mark.parametrize("case", cases("stream_headers.json"), ids=label)
def test_stream_headers(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    kind = varint.decode(data, 0)
    assert kind is not None
    assert kind[0] == case["type"]
    if kind[0] != 2:
        return
    receiver = DownlinkReceiver(Limits(), lambda event: None)
    if "code" in case:
        with pytest.raises(RemoteProtocolError) as violation:
            receiver.read_header(data[kind[1] :])
        assert violation.value.code == case["code"]
    else:
        assert receiver.read_header(data[kind[1] :] + b"rest") == b"rest"
        assert plain(receiver.header) == case["header"]


@pytest.mark.parametrize("case", cases("hello.json"), ids=label)
def test_hello(case: dict[str, Any]) -> None:
    session = ServerSession(0)
    session.stream_opened(0, True, 0)
    session.receive(0, control_record(json.dumps(case["event"]).encode()), False, 0)
    event = session.events()[0]
    if "code" in case:
        assert isinstance(event, SessionEnded)
        assert event.code == case["code"]
    else:
        assert isinstance(event, HelloReceived)
        assert covers(plain(event.hello), case["reads"])


@pytest.mark.parametrize("case", cases("welcome.json"), ids=label)
def test_welcome(case: dict[str, Any]) -> None:
    session = ClientSession(msgspec.convert(SESSION_HELLO, Hello), 0)
    session.receive(-1, control_record(json.dumps(case["event"]).encode()), False, 0)
    event = session.events()[0]
    if "code" in case:
        assert isinstance(event, SessionEnded)
        assert event.code == case["code"]
    else:
        assert isinstance(event, Welcomed)
        assert covers(plain(event.welcome), case["reads"])


@pytest.mark.parametrize("case", SESSIONS, ids=label)
def test_sessions(case: dict[str, Any]) -> None:
    session = session_for(case)
    control = 0 if case["role"] == "server" else -1
    for number, step in enumerate(case["steps"]):
        replay(session, step)
        events, outputs = reported(session), asked_for(session, control)
        assert "events" not in step or covers(events, step["events"]), f"step {number}: {events}"
        assert "outputs" not in step or covers(outputs, step["outputs"]), f"step {number}: {outputs}"


@pytest.mark.parametrize("case", cases("malformed.json"), ids=label)
def test_malformed_input(case: dict[str, Any]) -> None:
    session = session_for(case)
    for step in case["steps"][:-1]:
        replay(session, step)
        assert session.state is not SessionState.CLOSED
    session.events()
    session.outputs()
    replay(session, case["steps"][-1])
    events, outputs = session.events(), session.outputs()
    assert isinstance(events[-1], SessionEnded)
    assert isinstance(outputs[-1], CloseSession)
    assert (events[-1].by, events[-1].code, outputs[-1].code) == ("local", case["code"], case["code"])
    assert events[-1].reason
    for step in case["steps"]:
        if step["do"] != "accept":
            replay(session, step)
    assert (session.events(), session.outputs(), session.next_deadline()) == ([], [], None)


def test_the_vectors_speak_of_events_only() -> None:
    assert RecordType.EVENT == 0
