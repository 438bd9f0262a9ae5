// The legato.* control events between JSON and values (SPEC 6 to 13), as a client says and reads them.
//
// Owns member names, ranges and defaults; must not know when a message is allowed. Members keep the names they have
// on the wire. What is not a JSON object with a "type", or is a malformed known event, throws RemoteProtocolError.

import { LocalProtocolError, RemoteProtocolError } from "../errors.ts";
import { CHECKPOINT_MAX, POSITION_MAX, SessionCode } from "./codes.ts";
import { RATES, type AudioFormat, type Codec } from "./formats.ts";

/** One event as it stands on the wire. */
export type JsonObject = { type: string; [member: string]: unknown };

export type PlaybackState = "playing" | "paused" | "stopped" | "done";

/** What one side accepts (SPEC 15). */
export interface Limits {
  control_record_bytes: number;
  audio_record_bytes: number;
  window_ms: number;
  window_bytes: number;
  unread_ms: number;
  unread_bytes: number;
  audio_rate: number;
  audio_burst_ms: number;
  uplink_streams: number;
  hello_ms: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  control_record_bytes: 1 << 20,
  audio_record_bytes: 1 << 16,
  window_ms: 30_000,
  window_bytes: 4 << 20,
  unread_ms: 30_000,
  unread_bytes: 4 << 20,
  audio_rate: 4,
  audio_burst_ms: 120_000,
  uplink_streams: 64,
  hello_ms: 5_000,
};

/** A reply as a resuming hello names it (SPEC 17). */
export interface ReceivedReply {
  generation: number;
  item_id: string;
  content_index: number;
  received: number;
  played: number;
  complete: boolean;
  state: PlaybackState;
}

export interface ResumeRequest {
  ticket: string;
  uplink_offset: number;
  downlink: ReceivedReply[];
  events: number;
  checkpoint: string | null;
}

export interface Hello {
  type: "legato.hello";
  version: number;
  input: AudioFormat;
  output: AudioFormat[];
  dialect?: string;
  profile?: "auto" | "turn" | "duplex";
  lead_ms?: number | null;
  token?: string | null;
  resume?: ResumeRequest | null;
  capabilities?: { playback_reports: boolean; local_vad: boolean; resume: boolean; checkpoints: boolean };
  client?: string;
}

export interface Welcome {
  type: "legato.welcome";
  session_id: string;
  input: AudioFormat;
  output: AudioFormat;
  profile: "turn" | "duplex";
  lead_ms: number;
  server_time_us: number;
  limits: Limits;
  resume_ticket: string | null;
  resume_ttl_ms: number;
  resumed: boolean;
  uplink_offset: number;
  /** How many counted events of this client the server has taken. */
  events: number;
  /** Whether another server goes on with the call (SPEC 17.1). */
  rebuilt: boolean;
}

/** The call as it stands, for another server. */
export interface Checkpoint {
  type: "legato.checkpoint";
  state: string;
  uplink_offset: number;
  events: number;
}

export interface Playback {
  type: "legato.playback";
  item_id: string;
  content_index: number;
  generation: number;
  played: number;
  buffered: number;
  underruns: number;
  state: PlaybackState;
}

export interface ReplyHeader {
  response_id: string;
  item_id: string;
  content_index: number;
  generation: number;
  format: AudioFormat;
}

/** What a server says about the session itself; everything else is an event of the dialect. */
export type ServerMessage =
  | Welcome
  | { type: "legato.audio_ack"; offset: number }
  | { type: "legato.event_ack"; count: number }
  | Checkpoint
  | { type: "legato.flush"; generation: number; first: number }
  | { type: "legato.going_away"; in_ms: number };

const COUNT_MAX = 2 ** 31 - 1;
const CLIENT_EVENTS = new Set(["legato.hello", "legato.audio_gap", "legato.playback", "legato.bye"]);
/** Said with `sendEvent`; every other legato.* event has an operation of its own. */
const FREE_EVENTS = new Set(["legato.error", "legato.duck", "legato.unduck"]);

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The members of one object, each judged as it is taken. */
class Members {
  constructor(
    private readonly name: string,
    private readonly values: Record<string, unknown>,
  ) {}

  integer(member: string, low: number, high: number, otherwise?: number): number {
    const value = this.given(member, otherwise);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < low || value > high) {
      throw this.wrong(member, `is not a whole number from ${low} to ${high}`);
    }
    return value;
  }

  text(member: string, longest = Infinity): string {
    const value = this.given(member);
    if (typeof value !== "string") throw this.wrong(member, "is not a string");
    if (value.length > longest) throw this.wrong(member, `has more than ${longest} characters`);
    return value;
  }

  oneOf<T extends string>(member: string, choices: readonly T[]): T {
    const value = this.given(member);
    if (!choices.includes(value as T)) throw this.wrong(member, `is not one of ${choices.join(", ")}`);
    return value as T;
  }

  flag(member: string, otherwise: boolean): boolean {
    const value = this.given(member, otherwise);
    if (typeof value !== "boolean") throw this.wrong(member, "is not true or false");
    return value;
  }

  textOrNull(member: string): string | null {
    const value = this.given(member, null);
    if (value !== null && typeof value !== "string") throw this.wrong(member, "is neither a string nor null");
    return value;
  }

  object(member: string): Members {
    return new Members(`${this.name}.${member}`, asObject(this.given(member), `${this.name}.${member}`));
  }

  format(member: string): AudioFormat {
    const form = this.object(member);
    const codec = form.oneOf("codec", Object.keys(RATES) as Codec[]);
    const rate = form.integer("rate", 1, COUNT_MAX);
    form.integer("channels", 1, 1, 1);
    if (!RATES[codec].includes(rate)) throw form.wrong("rate", `is not one of ${RATES[codec].join(", ")}`);
    return { codec, rate, channels: 1 };
  }

  wrong(member: string, fault: string): RemoteProtocolError {
    return refused(`malformed ${this.name}: ${member} ${fault}`);
  }

  private given(member: string, otherwise?: unknown): unknown {
    const value = Object.hasOwn(this.values, member) ? this.values[member] : otherwise;
    if (value === undefined) throw this.wrong(member, "is missing");
    return value;
  }
}

/** What a server said: a message of the session, or an event of the dialect, whole. */
export function readServerEvent(payload: Uint8Array): ServerMessage | JsonObject {
  const values = parsed(payload, "event");
  const type = values["type"];
  if (typeof type !== "string") throw refused("malformed event: type is not a string");
  if (CLIENT_EVENTS.has(type)) throw refused(`${type} is for clients to say`);
  const members = new Members(type, values);
  switch (type) {
    case "legato.welcome":
      return readWelcome(members);
    case "legato.audio_ack":
      return { type, offset: members.integer("offset", 0, POSITION_MAX) };
    case "legato.event_ack":
      return { type, count: members.integer("count", 0, POSITION_MAX) };
    case "legato.checkpoint":
      return {
        type,
        state: members.text("state", CHECKPOINT_MAX),
        uplink_offset: members.integer("uplink_offset", 0, POSITION_MAX),
        events: members.integer("events", 0, POSITION_MAX),
      };
    case "legato.flush":
      return {
        type,
        generation: members.integer("generation", 1, POSITION_MAX),
        first: members.integer("first", 1, POSITION_MAX, 1),
      };
    case "legato.going_away":
      return { type, in_ms: members.integer("in_ms", 0, COUNT_MAX) };
    default:
      return values as JsonObject;
  }
}

/** The header of a downlink stream. */
export function readReplyHeader(payload: Uint8Array): ReplyHeader {
  const members = new Members("reply header", parsed(payload, "reply header"));
  return {
    response_id: members.text("response_id"),
    item_id: members.text("item_id"),
    content_index: members.integer("content_index", 0, COUNT_MAX),
    generation: members.integer("generation", 1, POSITION_MAX),
    format: members.format("format"),
  };
}

/** A message of this library as JSON. */
export function encodeMessage(message: object): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

/** An event of the owner as JSON; throws LocalProtocolError beyond `limit` bytes or if it is not one. */
export function encodeEvent(event: JsonObject, limit: number): Uint8Array {
  const type: unknown = event?.type;
  if (typeof type !== "string") throw new LocalProtocolError('an event needs a "type" that is a string');
  if (type.startsWith("legato.") && !FREE_EVENTS.has(type)) {
    throw new LocalProtocolError(`${type} is said by an operation of the session; call that instead`);
  }
  let text: string;
  try {
    text = JSON.stringify(event);
  } catch (error) {
    throw new LocalProtocolError(`${type} is not JSON (${String(error)}); send plain values only`);
  }
  const payload = encoder.encode(text);
  if (payload.length > limit) {
    throw new LocalProtocolError(`${type} takes ${payload.length} bytes; the server reads at most ${limit}`);
  }
  return payload;
}

function readWelcome(members: Members): Welcome {
  const given = members.object("limits");
  const limits = Object.fromEntries(
    Object.entries(DEFAULT_LIMITS).map(([name, value]) => [name, given.integer(name, 1, COUNT_MAX, value)]),
  ) as unknown as Limits;
  return {
    type: "legato.welcome",
    session_id: members.text("session_id"),
    input: members.format("input"),
    output: members.format("output"),
    profile: members.oneOf("profile", ["turn", "duplex"]),
    lead_ms: members.integer("lead_ms", 1, COUNT_MAX),
    server_time_us: members.integer("server_time_us", -POSITION_MAX, POSITION_MAX),
    limits,
    resume_ticket: members.textOrNull("resume_ticket"),
    resume_ttl_ms: members.integer("resume_ttl_ms", 0, COUNT_MAX, 0),
    resumed: members.flag("resumed", false),
    uplink_offset: members.integer("uplink_offset", 0, POSITION_MAX, 0),
    events: members.integer("events", 0, POSITION_MAX, 0),
    rebuilt: members.flag("rebuilt", false),
  };
}

function parsed(payload: Uint8Array, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(payload));
  } catch (error) {
    throw refused(`malformed ${name}: ${(error as Error).message}`);
  }
  return asObject(value, name);
}

function asObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refused(`malformed ${name}: not an object`);
  }
  return value as Record<string, unknown>;
}

function refused(reason: string): RemoteProtocolError {
  return new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
}
