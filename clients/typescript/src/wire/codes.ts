// Every number that wire/SPEC.md assigns, in one place; must not know what they cause.

export const WIRE_VERSION = 1;
export const SESSION_PATH = "/legato/v1";
export const WEBSOCKET_PROTOCOL = "legato.v1";

/** The largest sample position or time: what every JSON reader can hold exactly. */
export const POSITION_MAX = Number.MAX_SAFE_INTEGER;
export const DATAGRAM_MAX_BYTES = 1_000;
export const REPLY_HEADER_MAX_BYTES = 4_096;
export const DOWNLINK_STREAMS_MAX = 256;
/** A close reason in UTF-8 (SPEC 2). */
export const REASON_MAX_BYTES = 1_024;
/** What a held record or event weighs beyond its payload, so that empty ones are bounded too. */
export const OVERHEAD_BYTES = 64;
export const PLAYBACK_INTERVAL_US = 200_000;
/** When counted events are acknowledged at the latest, and how many bytes of them are kept (SPEC 17). */
export const EVENT_ACK_EVENTS = 32;
export const EVENT_ACK_BYTES = 65_536;
export const KEPT_EVENT_BYTES = 2 << 20;
/** Characters of a checkpoint's state (SPEC 17.1). */
export const CHECKPOINT_MAX = 131_072;
/** Payload of one data message on a WebSocket (SPEC 20). */
export const DATA_MESSAGE_MAX_BYTES = 65_536;

/** Why a session ended (SPEC 14). */
export const SessionCode = {
  NO_ERROR: 0,
  GOING_AWAY: 1,
  PROTOCOL_VIOLATION: 2,
  UNSUPPORTED_VERSION: 3,
  UNSUPPORTED_FORMAT: 4,
  UNAUTHORIZED: 5,
  LIMIT_EXCEEDED: 6,
  HELLO_TIMEOUT: 7,
  OVERLOADED: 8,
  INTERNAL_ERROR: 9,
  AGENT_ERROR: 10,
  REPLACED: 11,
} as const;

/** Why one stream was reset or stopped (SPEC 14). */
export const StreamCode = { NO_ERROR: 0, FLUSHED: 1, UNKNOWN_STREAM: 2, CANCELLED: 3, LIMIT_EXCEEDED: 4 } as const;

/** First number on every unidirectional stream. */
export const StreamType = { UPLINK_AUDIO: 0x01, DOWNLINK_AUDIO: 0x02 } as const;

/** Type of a control record. */
export const RecordType = { EVENT: 0x00 } as const;

/** First number of every datagram. */
export const DatagramType = { HEARTBEAT: 0x00, HEARTBEAT_ECHO: 0x01 } as const;

/** First number of every message on a WebSocket. */
export const MessageType = { DATA: 0x00, RESET: 0x01, STOP: 0x02, DATAGRAM: 0x03, DRAIN: 0x04, CLOSE: 0x05 } as const;
