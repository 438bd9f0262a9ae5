// What a session asks its driver to do, and what it reports; must not know which transport or player does it.
//
// Plain values, told apart by `kind` and drained in order. A `key` names a stream: negative numbers are streams this
// session opened ("open" came first), others the numbers under which the driver reported the peer's streams.

import type { JsonObject, ReplyHeader, Welcome } from "../wire/messages.ts";

export type Output =
  | { kind: "open"; key: number; bidirectional: boolean }
  /** Reliably and in order; `fin` ends our direction after it. */
  | { kind: "send"; key: number; data: Uint8Array; fin: boolean }
  /** Ask the peer to stop sending on its stream; nothing more of it needs to be reported. */
  | { kind: "stop"; stream: number; code: number }
  /** Unreliable; dropping it is harmless. */
  | { kind: "datagram"; data: Uint8Array }
  /** Always the last output. */
  | { kind: "close"; code: number; reason: string };

/** Who ended a session: its owner, the server, or the network between them. */
export type Party = "local" | "peer" | "transport";

export type Event =
  /** `lost`: captured samples that were given up before they could be sent, over all of the outage. */
  | { kind: "welcomed"; welcome: Welcome; lost: number }
  /** The call waits for a session that continues it. */
  | { kind: "connectionLost"; by: Party; code: number; reason: string }
  | { kind: "eventReceived"; event: JsonObject }
  /** Replies are to be played in the order of their generations. */
  | { kind: "replyStarted"; header: ReplyHeader }
  /** An `offset` beyond the last end means that samples are lost. */
  | { kind: "replyAudio"; generation: number; itemId: string; offset: number; payload: Uint8Array }
  /** `complete` is false if the server broke the reply off without flushing it. */
  | { kind: "replyEnded"; generation: number; itemId: string; samples: number; complete: boolean }
  /** Drop at once what is buffered of the generations `first` to `generation`. */
  | { kind: "flushed"; generation: number; first: number }
  | { kind: "heartbeatReturned"; sequence: number }
  | { kind: "draining"; inMs: number }
  /** Always the last event, reported exactly once. */
  | { kind: "sessionEnded"; by: Party; code: number; reason: string };
