// Replies as a client receives them: one stream each, header first, then audio without overlap (SPEC 8).
//
// Owns the order within a reply and the register of those the player may still be busy with. Must not know the
// control stream or the player itself.

import { RemoteProtocolError } from "../errors.ts";
import { POSITION_MAX, REPLY_HEADER_MAX_BYTES, SessionCode } from "../wire/codes.ts";
import { bytesPerSample, samplesIn } from "../wire/formats.ts";
import { readReplyHeader, type Playback, type PlaybackState, type ReceivedReply, type ReplyHeader } from "../wire/messages.ts";
import { AudioReader } from "../wire/records.ts";
import * as varint from "../wire/varint.ts";
import type { Event } from "./outputs.ts";

const REMEMBERED = 64;

/** Reads the stream behind its type number: `readHeader` until `header` is known, then `feed`. */
export class DownlinkReceiver {
  header: ReplyHeader | null = null;
  received = 0;
  /** Whether this goes on with a reply whose first part came over another connection. */
  again = false;
  private head = new Uint8Array(0);
  private readonly reader: AudioReader;

  constructor(
    recordBytes: number,
    private readonly emit: (event: Event) => void,
  ) {
    this.reader = new AudioReader(recordBytes, false, (offset, _, payload) => this.audio(offset, payload));
  }

  get withinRecord(): boolean {
    return this.reader.withinRecord;
  }

  /** Take the next bytes of the header; returns those behind it once it is whole, null before. */
  readHeader(data: Uint8Array): Uint8Array | null {
    const bytes = new Uint8Array(this.head.length + data.length);
    bytes.set(this.head);
    bytes.set(data, this.head.length);
    this.head = bytes;
    const length = varint.decode(bytes, 0);
    if (!length) return null;
    if (length.value > REPLY_HEADER_MAX_BYTES) {
      throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "the header of a reply is too long");
    }
    const stop = length.next + length.value;
    if (bytes.length < stop) return null;
    this.header = readReplyHeader(bytes.subarray(length.next, stop));
    this.head = new Uint8Array(0);
    return bytes.subarray(stop);
  }

  /** Take the next bytes behind the header. */
  feed(data: Uint8Array): void {
    this.reader.feed(data);
  }

  private audio(offset: number, payload: Uint8Array): void {
    const header = this.header!;
    let samples = 0;
    try {
      samples = samplesIn(header.format, payload);
    } catch (error) {
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, (error as Error).message);
    }
    if (!samples) throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "an audio record without audio");
    const surplus = this.again ? this.received - offset : 0;
    if (surplus >= samples) return;
    const size = bytesPerSample(header.format.codec);
    const cut = surplus > 0 && size !== null ? surplus : 0;
    const start = offset + cut;
    if (start < this.received || start > POSITION_MAX) {
      const reason = `reply audio at ${offset}, expected ${this.received}`;
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
    }
    this.received = offset + samples;
    const wanted = cut ? payload.subarray(cut * size!) : payload;
    this.emit({ kind: "replyAudio", generation: header.generation, itemId: header.item_id, offset: start, payload: wanted });
  }
}

/** A reply the player may still be busy with, or has done with not long ago. */
interface Known {
  readonly header: ReplyHeader;
  stream: DownlinkReceiver;
  /** Whether its stream came over this connection. */
  attached: boolean;
  played: number;
  state: PlaybackState;
  complete: boolean;
  /** The latest report, until a hello has told it. */
  last: Playback | null;
}

/**
 * The replies of a call that were not flushed, whether or not they were played; the latest ones. Everything up to
 * `flushed` is stale; single later generations that are stale are remembered too, the last ones of them.
 */
export class ReplyRegister {
  /** The highest one seen. */
  generation = 0;
  flushed = 0;
  private readonly known = new Map<number, Known>();
  private readonly stale: [first: number, last: number][] = [];

  /** Enter a reply that begins or goes on; returns false if it is not wanted (any more). */
  admit(header: ReplyHeader, stream: DownlinkReceiver): boolean {
    const { generation } = header;
    if (this.isStale(generation)) return false;
    const known = this.known.get(generation);
    if (known) return this.goOn(known, stream);
    const fresh = { attached: true, played: 0, state: "playing", complete: false, last: null } as const;
    this.known.set(generation, { header, stream, ...fresh });
    this.generation = Math.max(this.generation, generation);
    if (this.known.size > REMEMBERED) this.known.delete(Math.min(...this.known.keys()));
    return true;
  }

  /** All audio of a reply is here. */
  complete(generation: number): void {
    const known = this.known.get(generation);
    if (known) known.complete = true;
  }

  /** Note what the player did with a reply. */
  report(report: Playback): void {
    const known = this.known.get(report.generation);
    if (!known) return;
    known.played = report.played;
    known.state = report.state;
    known.last = report;
  }

  /** Forget these generations for good; returns false if that is nothing new. */
  flush(first: number, last: number): boolean {
    if (last <= this.flushed || this.stale.some(([one, other]) => one <= first && last <= other)) return false;
    if (first <= this.flushed + 1) {
      this.flushed = last;
    } else {
      this.stale.push([first, last]);
      if (this.stale.length > REMEMBERED) this.stale.shift();
    }
    for (const generation of [...this.known.keys()]) {
      if (first <= generation && generation <= last) this.known.delete(generation);
    }
    return true;
  }

  /** What is held and was played of each reply, as a resuming hello tells it; later reports are for `attach`. */
  positions(): ReceivedReply[] {
    return [...this.known.values()].map((known) => {
      known.last = null;
      const { header, stream, played, complete, state } = known;
      const { generation, item_id, content_index } = header;
      return { generation, item_id, content_index, received: stream.received, played, complete, state };
    });
  }

  /** Go on over another connection; returns what was reported since its hello. */
  attach(): Playback[] {
    const known = [...this.known.values()];
    for (const one of known) one.attached = false;
    return known.flatMap(({ last }) => last ?? []);
  }

  private goOn(known: Known, stream: DownlinkReceiver): boolean {
    if (known.attached) throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "two streams have one generation");
    if (known.complete || known.state === "stopped" || known.state === "done") return false;
    stream.received = known.stream.received;
    stream.again = true;
    known.stream = stream;
    known.attached = true;
    return true;
  }

  private isStale(generation: number): boolean {
    return generation <= this.flushed || this.stale.some(([one, other]) => one <= generation && generation <= other);
  }
}
