// All replies of a session: from streams that may be anything to audio in order, and what a flush does to them.
//
// Owns the server's streams and the register of replies. Must not know the control stream, the welcome or the player.

import { RemoteProtocolError } from "../errors.ts";
import { DOWNLINK_STREAMS_MAX, SessionCode, StreamCode, StreamType } from "../wire/codes.ts";
import type { Playback, ReceivedReply, ReplyHeader } from "../wire/messages.ts";
import * as varint from "../wire/varint.ts";
import { DownlinkReceiver, ReplyRegister } from "./downlink-receiver.ts";
import type { Event } from "./outputs.ts";

/** A stream of which it is not decided yet what it is. */
interface Opening {
  data: Uint8Array;
  fin: boolean;
}

export class Downlink {
  private readonly opening = new Map<number, Opening>();
  private readonly audio = new Map<number, DownlinkReceiver>();
  private replies = new ReplyRegister();

  /** `emit` takes what happens to replies, `stop` declines the rest of a stream. */
  constructor(
    private readonly recordBytes: number,
    private readonly emit: (event: Event) => void,
    private readonly stop: (stream: number, code: number) => void,
  ) {}

  /** The server opened a stream. */
  opened(stream: number): void {
    if (this.audio.size + this.opening.size >= DOWNLINK_STREAMS_MAX) {
      throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too many audio streams are open");
    }
    this.opening.set(stream, { data: new Uint8Array(0), fin: false });
  }

  /** The next bytes of a stream; ignored if nothing of it is wanted any more. */
  receive(stream: number, data: Uint8Array, fin: boolean): void {
    const reply = this.audio.get(stream);
    const opening = this.opening.get(stream);
    if (reply) {
      this.feed(stream, reply, data, fin);
    } else if (opening) {
      // Until the type is read that is at most seven bytes.
      opening.data = opening.data.length ? Uint8Array.of(...opening.data, ...data) : data;
      opening.fin = fin;
      this.decide(stream, opening);
    }
  }

  /** The server abandoned a stream. */
  reset(stream: number, code: number): void {
    this.opening.delete(stream);
    const reply = this.audio.get(stream);
    this.audio.delete(stream);
    if (!reply?.header) return;
    const { generation, item_id: itemId } = reply.header;
    if (code === StreamCode.FLUSHED) {
      // The event that says so is on its way; nothing is gained by playing until it is here.
      this.flush(generation, generation);
    } else {
      this.emit({ kind: "replyEnded", generation, itemId, samples: reply.received, complete: false });
    }
  }

  /** Nothing of these generations may be played any more. */
  flush(first: number, generation: number): void {
    if (!this.replies.flush(first, generation)) return;
    for (const [stream, reply] of [...this.audio]) {
      if (reply.header && first <= reply.header.generation && reply.header.generation <= generation) {
        this.stop(stream, StreamCode.CANCELLED);
        this.audio.delete(stream);
      }
    }
    this.emit({ kind: "flushed", generation, first });
  }

  /** Note what the player did with a reply. */
  report(report: Playback): void {
    this.replies.report(report);
  }

  /** What is held and was played of each reply, as a resuming hello tells it. */
  positions(): ReceivedReply[] {
    return this.replies.positions();
  }

  /** The highest generation that has begun. */
  get generation(): number {
    return this.replies.generation;
  }

  /** Everything up to this generation is stale. */
  get flushed(): number {
    return this.replies.flushed;
  }

  /** Go on with the replies of a session before; returns what was reported since the hello. */
  continueFrom(old: Downlink): Playback[] {
    this.replies = old.replies;
    return this.replies.attach();
  }

  /** Forget all streams: the session has ended. */
  clear(): void {
    this.opening.clear();
    this.audio.clear();
  }

  private decide(stream: number, opening: Opening): void {
    const type = varint.decode(opening.data, 0);
    if (!type && !opening.fin) return;
    this.opening.delete(stream);
    if (type?.value === StreamType.DOWNLINK_AUDIO) {
      const reply = new DownlinkReceiver(this.recordBytes, this.emit);
      this.audio.set(stream, reply);
      this.feed(stream, reply, opening.data.subarray(type.next), opening.fin);
    } else if (!opening.fin) {
      this.stop(stream, StreamCode.UNKNOWN_STREAM);
    }
  }

  private feed(stream: number, reply: DownlinkReceiver, data: Uint8Array, fin: boolean): void {
    if (reply.header) {
      reply.feed(data);
    } else {
      const rest = reply.readHeader(data);
      if (reply.header && rest) {
        if (!this.begin(stream, reply, reply.header, fin)) return;
        reply.feed(rest);
      }
    }
    if (fin) this.finish(stream, reply);
  }

  /** Returns false if the reply is stale and was turned away. */
  private begin(stream: number, reply: DownlinkReceiver, header: ReplyHeader, fin: boolean): boolean {
    if (this.replies.admit(header, reply)) {
      if (!reply.again) this.emit({ kind: "replyStarted", header });
      return true;
    }
    this.audio.delete(stream);
    if (!fin) this.stop(stream, StreamCode.CANCELLED);
    return false;
  }

  private finish(stream: number, reply: DownlinkReceiver): void {
    this.audio.delete(stream);
    if (!reply.header || reply.withinRecord) {
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a reply ended within a record");
    }
    const { generation, item_id: itemId } = reply.header;
    this.replies.complete(generation);
    this.emit({ kind: "replyEnded", generation, itemId, samples: reply.received, complete: true });
  }
}
