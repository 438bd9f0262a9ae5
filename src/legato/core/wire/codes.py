"""Every number that wire/SPEC.md assigns, in one place; must not know what they cause.

A test compares this file with the tables of wire/SPEC.md, in both directions.
"""

from enum import IntEnum

WIRE_VERSION = 1
SESSION_PATH = "/legato/v1"
WEBSOCKET_PROTOCOL = "legato.v1"

VARINT_MAX = (1 << 62) - 1
"""The largest QUIC variable-length integer (RFC 9000 section 16)."""

POSITION_MAX = (1 << 53) - 1
"""The largest sample position or time: what every JSON reader can hold exactly."""

DATAGRAM_MAX_BYTES = 1_000
REPLY_HEADER_MAX_BYTES = 4_096
REASON_MAX_BYTES = 1_024
DATA_MESSAGE_MAX_BYTES = 65_536
"""Bytes of a stream in one message of a WebSocket."""

DOWNLINK_STREAMS_MAX = 256
OVERHEAD_BYTES = 64
"""What a held record or event weighs beyond its payload, so that empty ones are bounded too."""

ACK_INTERVAL_US = 200_000
PLAYBACK_INTERVAL_US = 200_000

EVENT_ACK_EVENTS = 32
EVENT_ACK_BYTES = 65_536
"""Counted events taken, by number and by payload, after which they are acknowledged."""

KEPT_EVENT_BYTES = 2 << 20
"""What counted events that wait for their acknowledgement may weigh."""

KEPT_REPLY_BYTES = 8 << 20
"""What reply audio that was not played yet may weigh, all replies of a call together."""


class SessionCode(IntEnum):
    """Why a session ended (wire/SPEC.md, "Session close codes")."""

    NO_ERROR = 0
    GOING_AWAY = 1
    PROTOCOL_VIOLATION = 2
    UNSUPPORTED_VERSION = 3
    UNSUPPORTED_FORMAT = 4
    UNAUTHORIZED = 5
    LIMIT_EXCEEDED = 6
    HELLO_TIMEOUT = 7
    OVERLOADED = 8
    INTERNAL_ERROR = 9
    AGENT_ERROR = 10
    REPLACED = 11


class StreamCode(IntEnum):
    """Why one stream was reset or stopped (wire/SPEC.md, "Stream codes")."""

    NO_ERROR = 0
    FLUSHED = 1
    UNKNOWN_STREAM = 2
    CANCELLED = 3
    LIMIT_EXCEEDED = 4


class StreamType(IntEnum):
    """First number on every unidirectional stream."""

    UPLINK_AUDIO = 0x01
    DOWNLINK_AUDIO = 0x02


class RecordType(IntEnum):
    """Type of a control record."""

    EVENT = 0x00


class DatagramType(IntEnum):
    """First number of every datagram."""

    HEARTBEAT = 0x00
    HEARTBEAT_ECHO = 0x01


class MessageType(IntEnum):
    """First number of every message on a WebSocket."""

    DATA = 0x00
    RESET = 0x01
    STOP = 0x02
    DATAGRAM = 0x03
    DRAIN = 0x04
    CLOSE = 0x05


class Priority(IntEnum):
    """Local sending order of streams, higher first; not on the wire."""

    AUDIO = 1
    CONTROL = 2
