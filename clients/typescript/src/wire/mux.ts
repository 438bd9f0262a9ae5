// Streams and datagrams as messages of one WebSocket (SPEC 20): the client's end.
//
// Owns the layout of a message and which streams exist. Must not know sockets, nor what streams carry.

import { RemoteProtocolError } from "../errors.ts";
import { MessageType, REASON_MAX_BYTES, SessionCode } from "./codes.ts";
import { assembled } from "./records.ts";
import * as varint from "./varint.ts";

export type Message =
  | { type: "data"; stream: number; fin: boolean; bytes: Uint8Array }
  | { type: "reset"; stream: number; code: number }
  | { type: "stop"; stream: number; code: number }
  | { type: "datagram"; bytes: Uint8Array }
  | { type: "drain" }
  | { type: "close"; code: number; reason: string };

/** One that is about a stream. */
export type StreamMessage = Extract<Message, { stream: number }>;

const FIN = 1;
const CODE_MAX = 2 ** 32 - 1;
const CONTROL_STREAM = 0;
/** Streams of a server that are open, or were declined and not given up yet: several times what it may have open. */
const RECEIVING_MAX = 1_024;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A message as bytes. */
export function encode(message: Message): Uint8Array {
  switch (message.type) {
    case "data":
      return assembled([MessageType.DATA, message.stream, message.fin ? FIN : 0], message.bytes);
    case "reset":
      return assembled([MessageType.RESET, message.stream, message.code]);
    case "stop":
      return assembled([MessageType.STOP, message.stream, message.code]);
    case "datagram":
      return assembled([MessageType.DATAGRAM], message.bytes);
    case "drain":
      return assembled([MessageType.DRAIN]);
    case "close":
      return assembled([MessageType.CLOSE, message.code], new TextEncoder().encode(message.reason));
  }
}

/** What a message says; null for a type that is not known. Throws RemoteProtocolError for a malformed one. */
export function decode(data: Uint8Array): Message | null {
  let at = 0;
  const number = (max = Number.POSITIVE_INFINITY): number => {
    const decoded = varint.decode(data, at);
    if (!decoded) throw malformed("it ends within its numbers");
    if (decoded.value > max) throw malformed(`${decoded.value} is too large`);
    at = decoded.next;
    return decoded.value;
  };
  switch (number()) {
    case MessageType.DATA: {
      const stream = number();
      const fin = (number() & FIN) === FIN;
      return { type: "data", stream, fin, bytes: data.subarray(at) };
    }
    case MessageType.RESET:
      return { type: "reset", stream: number(), code: number(CODE_MAX) };
    case MessageType.STOP:
      return { type: "stop", stream: number(), code: number(CODE_MAX) };
    case MessageType.DATAGRAM:
      return { type: "datagram", bytes: data.subarray(at) };
    case MessageType.DRAIN:
      return { type: "drain" };
    case MessageType.CLOSE:
      return { type: "close", code: number(CODE_MAX), reason: reasonIn(data.subarray(at)) };
    default:
      return null;
  }
}

/** Which streams exist: judges what the server sends, and numbers what this side opens. */
export class MuxStreams {
  private nextUplink = 2;
  private nextDownlink = 3;
  private nextForeign = 1;
  private readonly sending = new Set<number>();
  /** Streams on which the server may send; `false` if what arrives there was declined. */
  private readonly receiving = new Map<number, boolean>();

  /** The number of a new stream of this side. */
  open(bidirectional: boolean): number {
    if (!bidirectional) {
      this.sending.add(this.nextUplink);
      this.nextUplink += 4;
      return this.nextUplink - 4;
    }
    this.sending.add(CONTROL_STREAM);
    this.receiving.set(CONTROL_STREAM, true);
    return CONTROL_STREAM;
  }

  /** Our direction of a stream has ended. */
  finished(stream: number): void {
    this.sending.delete(stream);
  }

  /** We want no more of a stream; returns whether there is anything left to decline. */
  declined(stream: number): boolean {
    if (!this.receiving.get(stream)) return false;
    this.receiving.set(stream, false);
    return true;
  }

  /**
   * Judge a message about a stream. "opened" and "known" mean that it is to be reported, "dropped" that it is not.
   * Throws RemoteProtocolError if the server may not send it.
   */
  judge(message: StreamMessage): "opened" | "known" | "dropped" {
    const { stream } = message;
    if (message.type === "stop") {
      if (this.sending.has(stream)) return "known";
      const existed = stream % 4 === 2 ? stream < this.nextUplink : stream === 0 && this.receiving.has(0);
      if (existed) return "dropped";
      throw malformed(`stop of stream ${stream}, which does not exist`);
    }
    const state = this.receiving.get(stream);
    const opened = state === undefined && message.type === "data" && this.admit(stream);
    if (state === undefined && !opened) throw malformed(`${message.type} for stream ${stream}, which is not open`);
    const over = message.type === "reset" || message.fin;
    if (over) this.receiving.delete(stream);
    else if (opened) this.receiving.set(stream, true);
    return opened ? "opened" : state ? "known" : "dropped";
  }

  /** Whether `stream` is the next one of the server, which then exists. */
  private admit(stream: number): boolean {
    if (this.receiving.size >= RECEIVING_MAX) {
      throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too many streams are open");
    }
    if (stream === this.nextDownlink) this.nextDownlink += 4;
    else if (stream === this.nextForeign) this.nextForeign += 4;
    else return false;
    return true;
  }
}

function reasonIn(bytes: Uint8Array): string {
  if (bytes.length > REASON_MAX_BYTES) throw malformed("its reason is too long");
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("its reason is not UTF-8");
  }
}

function malformed(fault: string): RemoteProtocolError {
  return new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, `malformed message: ${fault}`);
}
