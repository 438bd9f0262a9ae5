// Captured audio as it is sent: a ring that keeps every sample until the server has it (SPEC 7).
//
// Owns positions, grouping into streams, the window of unacknowledged audio, and what is given up when the ring is
// full. Must not know transports, capture or coding.
//
// Theory of operation. A captured piece goes into `unsent`; `pump` moves pieces to `kept` while the window has room,
// and an acknowledgement removes them there. `flying` remembers what unacknowledged pieces weigh, also those that the
// ring no longer holds. Positions run
//
//     oldest ≤ acked ≤ sent ≤ captured
//
// and a ring that is over its bounds drops its oldest piece: first sent ones (the transport still holds them, only a
// resume could miss them), then unsent ones, which `pump` declares lost before it sends what follows.

import { LocalProtocolError, RemoteProtocolError } from "../errors.ts";
import { OVERHEAD_BYTES, SessionCode } from "../wire/codes.ts";
import { bytesPerSample, samplesIn, type AudioFormat } from "../wire/formats.ts";
import { DEFAULT_LIMITS, type Limits } from "../wire/messages.ts";
import { uplinkRecord } from "../wire/records.ts";

/** One payload with its positions; `stop` is behind its last sample. */
export interface Piece {
  readonly start: number;
  readonly stop: number;
  readonly capturedUs: number;
  readonly payload: Uint8Array;
}

/**
 * How audio is sent and kept. `groupUs`: how much shares a stream. `ringUs`: how much is kept for a resume at least,
 * longer if the server's resume time is longer, but at most `ringMaxUs`. `ringBytes`: the memory bound.
 */
export interface UplinkSettings {
  groupUs: number;
  ringUs: number;
  ringMaxUs: number;
  ringBytes: number;
}

export const UPLINK_SETTINGS: Readonly<UplinkSettings> = {
  groupUs: 10_000_000,
  ringUs: 60_000_000,
  ringMaxUs: 300_000_000,
  ringBytes: 32 << 20,
};

/** What the sender needs from its session. */
export interface UplinkStreams {
  openGroup(): number;
  sendRecord(key: number, data: Uint8Array, fin: boolean): void;
  declareLost(start: number, stop: number): void;
}

// Room for offset and capture time (8 bytes each) inside the size limit of a record.
const HEAD_BYTES = 16;

export class UplinkSender {
  captured: number;
  acked: number;
  sent: number;
  /** Acknowledged, and wanted by another server if it has to take the call over. */
  private acknowledged: Piece[] = [];
  private needed: number | null = null;
  private kept: Piece[] = [];
  private unsent: Piece[];
  private bytes: number;
  private flying: { stop: number; bytes: number }[] = [];
  private flyingBytes = 0;
  private ring: number;
  private readonly groupSamples: number;
  private group: number | null = null;
  private groupStart: number;
  private readonly groupEnds = new Set<number>();
  private unackedGroups: number[] = [];
  private attached = true;
  private limits: Limits = DEFAULT_LIMITS;

  /** `carried` is audio of an earlier session, from `start` on, that the server may not have. */
  constructor(
    readonly format: AudioFormat,
    private readonly settings: UplinkSettings,
    start: number,
    private streams: UplinkStreams,
    carried: readonly Piece[] = [],
  ) {
    this.unsent = [...carried];
    this.bytes = carried.reduce((sum, piece) => sum + cost(piece), 0);
    this.captured = carried.at(-1)?.stop ?? start;
    this.acked = this.sent = this.groupStart = start;
    this.ring = this.samples(settings.ringUs);
    this.groupSamples = this.samples(settings.groupUs);
  }

  /** Go by what the server accepts from now on. */
  setLimits(limits: Limits): void {
    this.limits = limits;
  }

  /** Keep audio as long as the server would resume the call, within `ringMaxUs`. */
  keepFor(resumeTtlMs: number): void {
    const { ringUs, ringMaxUs } = this.settings;
    this.ring = this.samples(Math.min(Math.max(ringUs, resumeTtlMs * 1_000), ringMaxUs));
  }

  /** The oldest sample the ring still holds: where a resume could start. */
  get oldest(): number {
    return (this.acknowledged[0] ?? this.kept[0] ?? this.unsent[0])?.start ?? this.captured;
  }

  /** Everything the ring holds, for the session that takes over. */
  get pieces(): Piece[] {
    return [...this.kept, ...this.unsent];
  }

  /** Memory held, overhead included. */
  get ringBytes(): number {
    return this.bytes;
  }

  /** Keep audio from there on, as far as the ring goes, even when it was acknowledged: another server may want it. */
  neededFrom(offset: number): void {
    this.needed = offset;
    while (this.acknowledged.length && this.acknowledged[0]!.stop <= offset) this.bytes -= cost(this.acknowledged.shift()!);
  }

  /** Take captured audio and send what may be sent; returns the position behind it. */
  push(payload: Uint8Array, capturedUs: number): number {
    const samples = this.counted(payload);
    const bytes = bytesPerSample(this.format.codec);
    const room = this.limits.audio_record_bytes - HEAD_BYTES;
    if (payload.length <= room) {
      this.append(payload, samples, capturedUs);
    } else if (bytes === null) {
      throw new LocalProtocolError(`a packet of ${payload.length} bytes is too large; ${room} fit a record`);
    } else {
      const step = Math.floor(room / bytes) * bytes;
      for (let at = 0; at < payload.length; at += step) {
        const part = payload.slice(at, at + step);
        const later = Math.floor((at / bytes / this.format.rate) * 1_000_000);
        this.append(part, part.length / bytes, capturedUs + later);
      }
    }
    this.pump();
    return this.captured;
  }

  /** Let the stream end behind what was captured so far. */
  endGroup(): void {
    if (this.unsent.length) {
      this.groupEnds.add(this.captured);
    } else if (this.group !== null) {
      this.streams.sendRecord(this.group, new Uint8Array(0), true);
      this.closeGroup();
    }
  }

  /** The server has everything before `offset`; throws RemoteProtocolError beyond what was sent. */
  acknowledge(offset: number): void {
    if (offset > this.sent) {
      const reason = `acknowledged ${offset} samples of ${this.sent} sent`;
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
    }
    if (offset <= this.acked) return;
    this.acked = offset;
    while (this.kept.length && this.kept[0]!.stop <= offset) this.doneWith(this.kept.shift()!);
    while (this.flying.length && this.flying[0]!.stop <= offset) this.flyingBytes -= this.flying.shift()!.bytes;
    while (this.unackedGroups.length && this.unackedGroups[0]! <= offset) this.unackedGroups.shift();
    this.pump();
  }

  /** The server has everything before `offset`, perhaps from an earlier connection. */
  startFrom(offset: number): void {
    if (offset < this.acked || offset > this.captured) {
      const reason = `welcome wants audio from ${offset}, which is not to be had`;
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
    }
    while (this.unsent.length && this.unsent[0]!.stop <= offset) this.bytes -= cost(this.unsent.shift()!);
    this.sent = Math.max(this.sent, offset);
    this.acknowledge(offset);
    this.pump();
  }

  /** The connection is lost: what is captured waits. */
  detach(): void {
    this.attached = false;
    this.group = null;
  }

  /** Go on over another session, whose server has everything before `offset` and nothing behind it. */
  attach(streams: UplinkStreams, offset: number): void {
    this.streams = streams;
    this.unsent = [...this.acknowledged, ...this.kept, ...this.unsent];
    this.acknowledged = [];
    this.kept = [];
    this.flying = [];
    this.flyingBytes = 0;
    this.group = null;
    this.unackedGroups = [];
    while (this.unsent.length && this.unsent[0]!.stop <= offset) this.doneWith(this.unsent.shift()!);
    this.acked = this.sent = offset;
    this.attached = true;
    this.pump();
  }

  /** Send what the window has room for. */
  pump(): void {
    if (!this.attached) return;
    for (let piece = this.unsent[0]; piece !== undefined; piece = this.unsent[0]) {
      if (this.sent > this.acked && !this.hasRoom(piece)) return;
      if (piece.start > this.sent) {
        // Said once, when it is clear how much it is; the window then waits for its acknowledgement.
        this.streams.declareLost(this.sent, piece.start);
        this.sent = piece.start;
        continue;
      }
      if (this.group === null) {
        // Half of what the server allows: the end of a stream may reach it later than the acknowledgement.
        if (this.unackedGroups.length >= Math.max(1, Math.floor(this.limits.uplink_streams / 2))) return;
        this.group = this.streams.openGroup();
        this.groupStart = piece.start;
      }
      this.unsent.shift();
      this.kept.push(piece);
      this.flying.push({ stop: piece.stop, bytes: cost(piece) });
      this.flyingBytes += cost(piece);
      this.sent = piece.stop;
      const last = piece.stop - this.groupStart >= this.groupSamples || this.groupEnds.has(piece.stop);
      this.streams.sendRecord(this.group, uplinkRecord(piece.start, piece.capturedUs, piece.payload), last);
      if (last) this.closeGroup();
    }
  }

  private counted(payload: Uint8Array): number {
    let samples = 0;
    try {
      samples = samplesIn(this.format, payload);
    } catch (error) {
      throw new LocalProtocolError(`${(error as Error).message}; pass whole ${this.format.codec} audio`);
    }
    if (!samples) throw new LocalProtocolError("there is no audio in an empty payload; leave it out");
    return samples;
  }

  private samples(us: number): number {
    return Math.floor((us * this.format.rate) / 1_000_000);
  }

  private hasRoom(piece: Piece): boolean {
    const window = Math.floor((this.limits.window_ms * this.format.rate) / 1_000);
    return piece.stop - this.acked <= window && this.flyingBytes + cost(piece) <= this.limits.window_bytes;
  }

  /** The server has this piece. */
  private doneWith(piece: Piece): void {
    if (this.needed === null || piece.stop <= this.needed) this.bytes -= cost(piece);
    else this.acknowledged.push(piece);
  }

  private closeGroup(): void {
    this.groupEnds.delete(this.sent);
    this.unackedGroups.push(this.sent);
    this.group = null;
  }

  private append(payload: Uint8Array, samples: number, capturedUs: number): void {
    const piece = { start: this.captured, stop: this.captured + samples, capturedUs, payload };
    this.captured = piece.stop;
    this.unsent.push(piece);
    this.bytes += cost(piece);
    while (this.captured - this.oldest > this.ring || this.bytes > this.settings.ringBytes) {
      const given = this.acknowledged.shift() ?? this.kept.shift() ?? (this.unsent.length > 1 ? this.unsent.shift() : undefined);
      if (given === undefined) return;
      this.bytes -= cost(given);
      this.groupEnds.delete(given.stop);
    }
  }
}

function cost(piece: Piece): number {
  return OVERHEAD_BYTES + piece.payload.length;
}
