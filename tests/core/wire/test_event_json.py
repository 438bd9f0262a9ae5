import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.link import OPUS, PCM, a_hello

from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.wire.event_json import (
    encode_event,
    encode_message,
    read_client_event,
    read_reply_header,
    read_server_event,
)
from legato.core.wire.messages import AudioLost, Bye, Flush, Hello, Playback, ReplyHeader, Welcome

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPES = ["legato.hello", "legato.welcome", "legato.audio_gap", "legato.playback", "legato.flush", "x", ""]


@pytest.mark.parametrize(
    "message",
    [
        a_hello(OPUS, token="t"),
        AudioLost(5, 9),
        Playback(item_id="i", generation=1, played=5, state="paused"),
        Bye(),
    ],
)
def test_what_a_client_says_is_what_a_server_reads(message: Any) -> None:
    assert read_client_event(encode_message(message)) == message
    with pytest.raises(RemoteProtocolError, match="clients"):
        read_server_event(encode_message(message))


def test_what_a_server_says_is_what_a_client_reads() -> None:
    assert read_server_event(encode_message(Flush(4))) == Flush(4, 1)
    with pytest.raises(RemoteProtocolError, match="servers"):
        read_client_event(encode_message(Flush(4)))


def test_other_events_stay_whole() -> None:
    event = {"type": "session.update", "session": {"voice": "x", "n": [1, None]}}
    assert read_client_event(encode_event(event, 1000)) == event
    assert read_server_event(encode_event(event, 1000)) == event


def test_headers() -> None:
    header = ReplyHeader(response_id="r", item_id="i", content_index=0, generation=2, format=PCM)
    assert read_reply_header(encode_message(header)) == header


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_client_event, read_server_event, read_reply_header):
        with contextlib.suppress(RemoteProtocolError):
            read(data)


@given(
    kind=st.sampled_from(TYPES),
    members=st.dictionaries(
        st.sampled_from(
            ["version", "input", "output", "resume", "from", "to", "generation", "played", "state", "x"]
        ),
        json_values,
    ),
)
def test_any_members_are_read_or_refused(kind: str, members: dict[str, Any]) -> None:
    data = json.dumps({"type": kind, **members}).encode()
    for read in (read_client_event, read_server_event):
        with contextlib.suppress(RemoteProtocolError):
            message = read(data)
            assert message == {"type": kind, **members} or not isinstance(message, dict)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, 'needs a "type"'),
        ({"type": 5}, 'needs a "type"'),
        ({"type": "legato.flush", "generation": 1}, "operation of the session"),
        ({"type": "x", "y": object()}, "not JSON"),
        ({"type": "x", "y": {object(): 1}}, "not JSON"),
        ({"type": "x", "y": "long" * 30}, "at most 100"),
    ],
)
def test_events_that_cannot_be_said(event: dict[str, Any], reason: str) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        encode_event(event, 100)


def test_an_event_that_contains_itself() -> None:
    event: dict[str, Any] = {"type": "x"}
    event["self"] = event
    with pytest.raises(LocalProtocolError, match="not JSON"):
        encode_event(event, 100)


@pytest.mark.parametrize("kind", ["legato.error", "legato.duck", "legato.unduck"])
def test_free_legato_events(kind: str) -> None:
    assert read_client_event(encode_event({"type": kind}, 100)) == {"type": kind}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, 3),
        ({"version": "1"}, 2),
        ({"input": {"codec": "lyra", "rate": 1}}, 4),
        ({"output": []}, 4),
        ({"output": 5}, 4),
        ({"profile": "fast"}, 2),
    ],
)
def test_hellos_that_are_refused(change: dict[str, Any], code: int) -> None:
    hello = {**json.loads(encode_message(a_hello())), **change}
    with pytest.raises(RemoteProtocolError) as violation:
        read_client_event(json.dumps(hello).encode())
    assert violation.value.code == code


def test_unknown_output_formats_are_skipped() -> None:
    hello = json.loads(encode_message(a_hello()))
    hello["output"] = [{"codec": "lyra", "rate": 1}, {"codec": "opus", "rate": 16_000}]
    message = read_client_event(json.dumps(hello).encode())
    assert isinstance(message, Hello)
    assert message.output == (OPUS,)


def test_welcome_needs_its_members() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed event"):
        read_server_event(b'{"type":"legato.welcome"}')
    assert Welcome.__struct_config__.tag == "legato.welcome"
