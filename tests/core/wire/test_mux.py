"""Messages of a WebSocket and the streams in them, by the vectors and by anything else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.errors import RemoteProtocolError
from legato.core.wire import mux
from legato.core.wire.codes import DATA_MESSAGE_MAX_BYTES, VARINT_MAX, SessionCode
from legato.core.wire.mux import Close, Data, Datagram, Drain, Message, MuxStreams, Reset, Stop

VECTORS = json.loads((Path(__file__).parents[3] / "wire/vectors/websocket.json").read_text())


def named(message: Message) -> dict[str, Any]:
    """A message in the words of the vectors."""
    match message:
        case Data(stream, fin, payload):
            return {"type": "data", "stream": stream, "fin": fin, "bytes": payload.hex()}
        case Reset(stream, code):
            return {"type": "reset", "stream": stream, "code": code}
        case Stop(stream, code):
            return {"type": "stop", "stream": stream, "code": code}
        case Datagram(payload):
            return {"type": "datagram", "bytes": payload.hex()}
        case Drain():
            return {"type": "drain"}
        case Close(code, reason):
            return {"type": "close", "code": code, "reason": reason}


def label(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=label)
def test_messages(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if "code" in case:
        with pytest.raises(RemoteProtocolError) as raised:
            mux.decode(data)
        assert raised.value.code == case["code"]
        return
    message = mux.decode(data)
    if message is None:
        assert case["message"] is None
        return
    assert named(message) == case["message"]
    assert (mux.encode(message) == data) is case.get("canonical", True)


def heard(message: Message, streams: MuxStreams) -> list[dict[str, Any]]:
    """What an end reports of a message."""
    if isinstance(message, Datagram):
        return [{"datagram": message.payload.hex()}]
    if isinstance(message, Drain):
        return [{"drain": True}]
    if isinstance(message, Close):
        return [{"closed": message.code, "reason": message.reason}]
    verdict = streams.judge(message)
    stream = message.stream
    if verdict == "dropped":
        return []
    if isinstance(message, Reset):
        return [{"reset": stream, "code": message.code}]
    if isinstance(message, Stop):
        return [{"stopped": stream, "code": message.code}]
    opening = [{"opened": stream, "bidirectional": mux.is_bidirectional(stream)}]
    data = {"data": stream, "bytes": message.payload.hex(), "fin": message.fin}
    return [*(opening if verdict == "opened" else []), data]


@pytest.mark.parametrize("case", VECTORS["sequences"], ids=label)
def test_streams(case: dict[str, Any]) -> None:
    server = case["role"] == "server"
    streams = MuxStreams(server)
    for stream in case.get("opened", [] if server else [0]):
        assert streams.open(mux.is_bidirectional(stream)) == stream
    for stream in case.get("finished", []):
        assert streams.finished(stream)
    reports: list[dict[str, Any]] = []
    code = None
    for at, words in enumerate(case["messages"]):
        for stop in case.get("stops", []):
            if stop["after"] == at:
                assert streams.declined(stop["stream"])
        message = mux.decode(bytes.fromhex(words))
        if message is None:
            continue
        try:
            reports += heard(message, streams)
        except RemoteProtocolError as violation:
            code = violation.code
            assert at == len(case["messages"]) - 1
        if isinstance(message, Close):
            break
    assert (reports, code) == (case["events"], case.get("code"))


def test_numbers_of_both_ends() -> None:
    client, server = MuxStreams(server=False), MuxStreams(server=True)
    assert [client.open(kind) for kind in (True, False, False, True)] == [0, 2, 6, 4]
    assert [server.open(kind) for kind in (False, True, False)] == [3, 1, 7]


def test_which_directions_are_open() -> None:
    streams = MuxStreams(server=True)
    assert streams.judge(Data(0, False, b"")) == "opened"
    assert streams.sends(0)
    assert streams.receives(0)
    assert streams.judge(Data(0, True, b"")) == "known"
    assert not streams.receives(0)
    assert not streams.declined(0)
    assert streams.finished(0)
    assert not streams.finished(0)
    assert not streams.sends(0)
    assert streams.judge(Stop(0, 0)) == "dropped"


def test_a_stop_of_a_stream_that_is_only_the_peers() -> None:
    streams = MuxStreams(server=True)
    streams.judge(Data(2, False, b""))
    with pytest.raises(RemoteProtocolError, match="not ours to send on"):
        streams.judge(Stop(2, 0))


def test_a_message_too_long() -> None:
    longest = mux.encode(Data(2, False, bytes(DATA_MESSAGE_MAX_BYTES)))
    assert mux.decode(longest) == Data(2, False, bytes(DATA_MESSAGE_MAX_BYTES))
    with pytest.raises(RemoteProtocolError) as raised:
        mux.decode(longest + b"!")
    assert raised.value.code == SessionCode.LIMIT_EXCEEDED


def test_a_reason_that_cannot_be_said_whole() -> None:
    assert mux.decode(mux.encode(Close(1, "\N{EURO SIGN}" * 400))) == Close(1, "\N{EURO SIGN}" * 341)
    assert mux.decode(mux.encode(Close(1, "\ud800"))) == Close(1, "?")


def test_streams_that_stay_open_are_bounded() -> None:
    streams = MuxStreams(server=True)
    for number in range(mux.PEER_STREAMS_MAX):
        streams.judge(Data(2 + 4 * number, False, b""))
    with pytest.raises(RemoteProtocolError) as raised:
        streams.judge(Data(2 + 4 * mux.PEER_STREAMS_MAX, False, b""))
    assert raised.value.code == SessionCode.LIMIT_EXCEEDED


NUMBERS = st.integers(0, VARINT_MAX)
CODES = st.integers(0, (1 << 32) - 1)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Data, NUMBERS, st.booleans(), st.binary(max_size=100)),
    st.builds(Reset, NUMBERS, CODES),
    st.builds(Stop, NUMBERS, CODES),
    st.builds(Datagram, st.binary(max_size=100)),
    st.just(Drain()),
    st.builds(Close, CODES, st.text(max_size=100)),
)


@given(MESSAGES)
def test_what_is_written_is_read(message: Message) -> None:
    assert mux.decode(mux.encode(message)) == message


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_anything_is_read_or_refused(messages: list[bytes], server: bool) -> None:
    streams = MuxStreams(server)
    code = None
    for data in messages:
        try:
            message = mux.decode(data)
            if isinstance(message, Data | Reset | Stop):
                streams.judge(message)
        except RemoteProtocolError as violation:
            code = violation.code
            break
    assert code in (None, SessionCode.PROTOCOL_VIOLATION, SessionCode.LIMIT_EXCEEDED)
