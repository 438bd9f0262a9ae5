// What a call asks of the connection below it (SPEC 2), and what it is told; must not know who implements it.
//
// Streams have numbers that the transport gives: those of this side from `openStream`, those of the server by
// `Handler.streamOpened`. Nothing here waits: what cannot be sent yet is kept, in order for each stream.

import type { Party } from "../core/outputs.ts";
import { OVERHEAD_BYTES, SessionCode } from "../wire/codes.ts";

export type TransportName = "webtransport" | "websocket";

export interface Transport {
  readonly name: TransportName;
  /** Bytes given to `send` that the network has not taken, as far as this side can know. */
  readonly unsent: number;
  /** From now on `handler` is told; what happened before is told first, in order. */
  bind(handler: Handler): void;
  openStream(bidirectional: boolean): number;
  /** Reliably and in order; `fin` ends this side's direction behind the bytes. */
  send(stream: number, data: Uint8Array, fin: boolean): void;
  /** Decline the rest of a stream of the server; nothing more of it is reported. */
  stop(stream: number, code: number): void;
  /** Unreliable; may be dropped at once. */
  sendDatagram(data: Uint8Array): void;
  /** End the session; nothing is reported afterwards. */
  close(code: number, reason: string): void;
}

export interface Handler {
  streamOpened(stream: number, bidirectional: boolean): void;
  streamData(stream: number, data: Uint8Array, fin: boolean): void;
  streamReset(stream: number, code: number): void;
  streamStopped(stream: number, code: number): void;
  datagram(data: Uint8Array): void;
  /** Reported once, and nothing after it. */
  closed(by: Party, code: number, reason: string): void;
}

/** A connection that is being established. */
export interface Attempt {
  /** Resolves when the session can be used, rejects with the reason if it cannot. */
  readonly ready: Promise<Transport>;
  /** Give it up; harmless when it is over. */
  abandon(): void;
}

/** What a server may say before anybody listens; a server of this protocol says nothing before the hello. */
const EARLY_BYTES = 1 << 20;

/** Tells a handler that is bound later: a server may speak before the call has chosen its transport. */
export class Listening implements Handler {
  private handler: Handler | null = null;
  private waiting: ((handler: Handler) => void)[] = [];
  private waitingBytes = 0;
  private over = false;

  /** `refuse` ends the session of a server that says too much before anybody listens. */
  constructor(private readonly refuse: (code: number, reason: string) => void) {}

  bind(handler: Handler): void {
    this.handler = handler;
    for (const tell of this.waiting.splice(0)) tell(handler);
  }

  /** Nothing is told any more. */
  silence(): void {
    this.over = true;
    this.waiting = [];
  }

  streamOpened(stream: number, bidirectional: boolean): void {
    this.tell((handler) => handler.streamOpened(stream, bidirectional));
  }

  streamData(stream: number, data: Uint8Array, fin: boolean): void {
    this.tell((handler) => handler.streamData(stream, data, fin), data.length);
  }

  streamReset(stream: number, code: number): void {
    this.tell((handler) => handler.streamReset(stream, code));
  }

  streamStopped(stream: number, code: number): void {
    this.tell((handler) => handler.streamStopped(stream, code));
  }

  datagram(data: Uint8Array): void {
    this.tell((handler) => handler.datagram(data), data.length);
  }

  closed(by: Party, code: number, reason: string): void {
    this.tell((handler) => handler.closed(by, code, reason));
    this.over = true;
  }

  private tell(what: (handler: Handler) => void, bytes = 0): void {
    if (this.over) return;
    if (this.handler) return what(this.handler);
    this.waiting.push(what);
    this.waitingBytes += OVERHEAD_BYTES + bytes;
    if (this.waitingBytes <= EARLY_BYTES) return;
    this.waiting = [];
    this.waitingBytes = 0;
    this.refuse(SessionCode.LIMIT_EXCEEDED, "the server says too much before the hello");
  }
}
