"""What wire/SPEC.md says in tables and examples is what the code does."""

import re

import msgspec
import pytest
from tests.wire.vectors import WIRE

from legato.core import SESSION_PATH, WIRE_VERSION
from legato.core.audio import RATES
from legato.core.wire import codes, mux, varint
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import (
    AudioAck,
    AudioLost,
    Bye,
    EventAck,
    Flush,
    GoingAway,
    Hello,
    Limits,
    Playback,
    ReceivedReply,
    ReplyHeader,
    ResumeRequest,
    Welcome,
)
from legato.core.wire.records import AudioReader, ControlReader

SPEC = (WIRE / "SPEC.md").read_text()


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    match = re.search(rf"^#+ (?:\d+\. )?{re.escape(title)}$(.*?)(?=^#|\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[1]


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a heading, without backquotes."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("| ").split(" | ")] for line in lines][1:]


def example(kind: str) -> list[bytes]:
    return [bytes.fromhex(block) for block in re.findall(rf"```hex {kind}\n(.*?)```", SPEC, re.DOTALL)]


@pytest.mark.parametrize(
    ("title", "table"), [("Session close codes", codes.SessionCode), ("Stream codes", codes.StreamCode)]
)
def test_codes(title: str, table: type[codes.SessionCode] | type[codes.StreamCode]) -> None:
    assert {name: int(number) for number, name, _ in rows(title)} == {one.name: one.value for one in table}


def test_type_numbers() -> None:
    assigned: dict[str, dict[str, int]] = {"control record": {}, "stream": {}, "datagram": {}}
    for number, name, kind in rows("Type numbers"):
        assigned[kind][name] = int(number, 16)
    assert assigned == {
        "control record": {one.name: one.value for one in codes.RecordType},
        "stream": {one.name: one.value for one in codes.StreamType},
        "datagram": {one.name: one.value for one in codes.DatagramType},
    }


def test_limits() -> None:
    assert {name: int(default) for name, default, _ in rows("Limits")} == msgspec.structs.asdict(Limits())
    fixed = re.search(
        r"header has at most (\d+) .*datagram at most (\d+).*accepts (\d+) open", section("Limits")
    )
    assert fixed
    assert [int(one) for one in fixed.groups()] == [
        codes.REPLY_HEADER_MAX_BYTES,
        codes.DATAGRAM_MAX_BYTES,
        codes.DOWNLINK_STREAMS_MAX,
    ]


def test_intervals() -> None:
    assert f"at most every {codes.ACK_INTERVAL_US // 1000} ms" in section("Uplink audio")
    assert f"every {codes.PLAYBACK_INTERVAL_US // 1000} ms while playing" in section("Playback reports")


def test_counted_events() -> None:
    resume = section("Resume")
    assert f"{codes.EVENT_ACK_EVENTS} events or {codes.EVENT_ACK_BYTES} bytes" in resume
    assert f"within {codes.KEPT_EVENT_BYTES >> 20} MiB" in resume


def test_the_weight_of_what_is_held() -> None:
    assert f"payload plus {codes.OVERHEAD_BYTES} bytes" in section("Uplink audio")
    assert f"each with {codes.OVERHEAD_BYTES} bytes on top" in section("Limits")


def test_path_and_version() -> None:
    assert f"`{SESSION_PATH}`" in section("The session underneath")
    assert SPEC.startswith(f"# The legato wire, version {WIRE_VERSION}\n")


def test_formats() -> None:
    table = {codec: tuple(map(int, rates.split(", "))) for codec, rates, _ in rows("Audio formats")}
    assert table == RATES


def test_members_of_hello_and_welcome() -> None:
    members = {cell for row in rows("Hello and welcome") for cell in [row[0]]}
    assert members - {"Member"} == {*Hello.__struct_fields__, *Welcome.__struct_fields__}


def test_every_event_and_member_is_described() -> None:
    for kind in (Hello, Welcome, AudioAck, AudioLost, EventAck, Playback, Flush, GoingAway, Bye):
        assert f"`{kind.__struct_config__.tag}" in SPEC
        for member in kind.__struct_encode_fields__:
            assert re.search(rf'[`"]{member}[`"]', SPEC), member
    for member in (*ResumeRequest.__struct_encode_fields__, *ReceivedReply.__struct_encode_fields__):
        assert re.search(rf'[`"]{member}[`"]', section("Resume")), member
    for member in ReplyHeader.__struct_encode_fields__:
        assert f'"{member}"' in section("Downlink audio")


def test_control_examples() -> None:
    found: list[tuple[int, bytes]] = []
    for data in example("control"):
        ControlReader(1000, lambda kind, payload, _: found.append((kind, payload))).feed(data, 0)
    bye = encode_message(Bye())
    assert found == [(0, bye), (33, b"abc"), (0, bye)]


def test_uplink_example() -> None:
    (data,) = example("uplink")
    found: list[tuple[int, int, bytes]] = []
    AudioReader(1000, True, lambda *record: found.append(record[:3])).feed(data[1:], 0)
    assert data[0] == codes.StreamType.UPLINK_AUDIO
    assert found == [(0, 1_000_000, b"\x08\xa1\xb2"), (320, 1_020_000, b"\x08\xc3\xd4")]


def test_downlink_example() -> None:
    (data,) = example("downlink")
    length = varint.decode(data, 1)
    assert data[0] == codes.StreamType.DOWNLINK_AUDIO
    assert length is not None
    assert length[0] == 119
    header = msgspec.json.decode(data[length[1] : length[1] + length[0]], type=ReplyHeader)
    assert header.generation == 1
    found: list[tuple[int, int, bytes]] = []
    reader = AudioReader(1000, False, lambda *record: found.append(record[:3]))
    reader.feed(data[length[1] + length[0] :], 0)
    assert found == [(0, 0, b"\x01\x00\xff\xff")]


def test_datagram_example() -> None:
    (data,) = example("datagram")
    assert data[0] == codes.DatagramType.HEARTBEAT
    assert varint.decode(data, 1) == (300, 3)


def test_messages_of_a_websocket() -> None:
    title = "The same over one WebSocket"
    assert {name: int(number, 16) for number, name, _ in rows(title)} == {
        one.name: one.value for one in codes.MessageType
    }
    assert f"subprotocol `{codes.WEBSOCKET_PROTOCOL}`" in section(title)
    assert f"at most\n  {codes.DATA_MESSAGE_MAX_BYTES} bytes of a stream" in section(title)
    assert f"longer than {codes.REASON_MAX_BYTES} bytes" in section(title)


def test_websocket_example() -> None:
    (data,) = example("websocket")
    assert data == mux.encode(mux.Data(0, False, bytes.fromhex("00027b7d"))) + mux.encode(
        mux.Data(2, True, b"\1")
    )
