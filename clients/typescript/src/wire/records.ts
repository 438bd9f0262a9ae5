// Records: length-prefixed pieces of a stream, found in chunks of any size (SPEC 4).
//
// Owns their layout and the bytes of one unfinished record per stream; must not know what a record leads to. A
// reader calls `deliver` for each whole record, in order; what breaks the layout throws RemoteProtocolError after
// everything before it was delivered. It never holds more than one record of the size limit plus the chunk at hand.

import { RemoteProtocolError } from "../errors.ts";
import { RecordType, SessionCode } from "./codes.ts";
import * as varint from "./varint.ts";

export type DeliverControl = (type: number, payload: Uint8Array) => void;
/** Receives offset (samples), capture time (microseconds, 0 on a downlink) and payload. */
export type DeliverAudio = (offset: number, capturedUs: number, payload: Uint8Array) => void;

/** One event as a control record. */
export function controlRecord(payload: Uint8Array): Uint8Array {
  return assembled([RecordType.EVENT, payload.length], payload);
}

/** One audio record of a client. */
export function uplinkRecord(offset: number, capturedUs: number, payload: Uint8Array): Uint8Array {
  const body = varint.size(offset) + varint.size(capturedUs) + payload.length;
  return assembled([body, offset, capturedUs], payload);
}

/** One audio record of a server. */
export function downlinkRecord(offset: number, payload: Uint8Array): Uint8Array {
  return assembled([varint.size(offset) + payload.length, offset], payload);
}

/** Numbers, then bytes. */
export function assembled(numbers: readonly number[], payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const head = numbers.reduce((sum, number) => sum + varint.size(number), 0);
  const target = new Uint8Array(head + payload.length);
  let at = 0;
  for (const number of numbers) at = varint.write(target, at, number);
  target.set(payload, at);
  return target;
}

/** Bytes that arrived and were not used yet; each is copied a fixed number of times however it arrives. */
class Unread {
  private buffer = new Uint8Array(0);
  private start = 0;
  private end = 0;

  get bytes(): Uint8Array {
    return this.buffer.subarray(this.start, this.end);
  }

  get length(): number {
    return this.end - this.start;
  }

  push(chunk: Uint8Array): void {
    if (this.end + chunk.length > this.buffer.length) {
      const held = this.bytes;
      const grown = held.length + chunk.length > this.buffer.length / 2;
      const target = grown ? new Uint8Array(2 * (held.length + chunk.length)) : this.buffer;
      target.set(held);
      this.end = held.length;
      this.start = 0;
      this.buffer = target;
    }
    this.buffer.set(chunk, this.end);
    this.end += chunk.length;
  }

  drop(count: number): void {
    this.start += count;
    if (this.start === this.end) {
      this.start = this.end = 0;
      // What one large record needed is not kept for as long as the stream lives.
      if (this.buffer.length > 1 << 18) this.buffer = new Uint8Array(0);
    }
  }
}

abstract class Reader {
  private readonly unread = new Unread();

  /** Whether the bytes so far end inside a record. */
  get withinRecord(): boolean {
    return this.unread.length > 0;
  }

  /** Take the next bytes of the stream. */
  feed(chunk: Uint8Array): void {
    this.unread.push(chunk);
    for (;;) {
      const used = this.take(this.unread.bytes);
      if (used === 0) return;
      this.unread.drop(used);
    }
  }

  /** Deliver the record at the beginning of `data`; returns its size, 0 if it is not whole yet. */
  protected abstract take(data: Uint8Array): number;
}

/** Finds control records. */
export class ControlReader extends Reader {
  constructor(
    private readonly limit: number,
    private readonly deliver: DeliverControl,
  ) {
    super();
  }

  protected take(data: Uint8Array): number {
    const type = varint.decode(data, 0);
    const length = type && varint.decode(data, type.next);
    if (!type || !length) return 0;
    if (length.value > this.limit) {
      const reason = `a control record of ${length.value} bytes; at most ${this.limit} are read`;
      throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, reason);
    }
    const stop = length.next + length.value;
    if (stop > data.length) return 0;
    this.deliver(type.value, data.slice(length.next, stop));
    return stop;
  }
}

/** Finds audio records; those of an uplink are `timed`. */
export class AudioReader extends Reader {
  constructor(
    private readonly limit: number,
    private readonly timed: boolean,
    private readonly deliver: DeliverAudio,
  ) {
    super();
  }

  protected take(data: Uint8Array): number {
    const length = varint.decode(data, 0);
    if (!length) return 0;
    if (length.value > this.limit) {
      const reason = `an audio record of ${length.value} bytes; at most ${this.limit} are read`;
      throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, reason);
    }
    const stop = length.next + length.value;
    if (stop > data.length) return 0;
    const body = data.subarray(0, stop);
    const offset = varint.decode(body, length.next);
    const captured = offset && (this.timed ? varint.decode(body, offset.next) : { value: 0, next: offset.next });
    if (!offset || !captured) {
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio record ends within its header");
    }
    this.deliver(offset.value, captured.value, body.slice(captured.next));
    return stop;
  }
}
