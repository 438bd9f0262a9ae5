// What the timeline shows: the last half minute of a call, and what is buffered for the seconds to come.
//
// Owns positions in time. Times are milliseconds of one clock, passed in. Must not know pixels.

import type { PlaybackPosition } from "legato-voice";

export const KEPT_MS = 40_000;
/** One value of an envelope. */
export const BIN_MS = 40;
/** A report of the player this far from where it was expected means that it had paused. */
const JUMP_MS = 250;

export interface Point {
  readonly at: number;
  readonly value: number;
}

/** "weak": nothing is heard of the server; "held": this page holds the network. */
export type PathKind = "webtransport" | "websocket" | "weak" | "held" | "none";

export interface Stretch {
  readonly from: number;
  to: number;
  readonly kind: PathKind;
}

export interface Mark {
  readonly at: number;
  readonly kind: "interruption" | "path";
  readonly label: string;
}

/** Samples from `position` on were heard from `at` on, `ms` of them. */
interface Played {
  readonly at: number;
  readonly position: number;
  ms: number;
}

export class ReplyTrack {
  readonly envelope: number[] = [];
  readonly played: Played[] = [];
  stoppedAt: number | null = null;
  receivedMs = 0;
  private carry = 0;
  private fill = 0;
  private last: { heard: number; playing: boolean } | null = null;

  /** Audio that has arrived. */
  audio(pcm: Int16Array, rate: number): void {
    const bin = (rate * BIN_MS) / 1_000;
    for (const sample of pcm) {
      this.carry = Math.max(this.carry, Math.abs(sample));
      this.fill += 1;
      if (this.fill >= bin) {
        this.envelope.push(this.carry / 32_768);
        this.carry = this.fill = 0;
      }
    }
    this.receivedMs += (pcm.length / rate) * 1_000;
  }

  /** The player said where it is. */
  playback(at: number, { heardMs, state }: Pick<PlaybackPosition, "heardMs" | "state">): void {
    const expected = this.heardAt(at);
    const current = this.played.at(-1);
    if (!current || !this.last?.playing || Math.abs(heardMs - expected) > JUMP_MS) {
      if (state === "playing") this.played.push({ at, position: heardMs, ms: 0 });
      else if (current) current.ms = Math.max(current.ms, heardMs - current.position);
    } else {
      current.ms = Math.max(current.ms, heardMs - current.position);
    }
    if (state === "stopped") this.stoppedAt ??= at;
    this.last = { heard: heardMs, playing: state === "playing" };
  }

  /** What has been heard by now: reports come a few times a second, and late when the page is busy. */
  heardAt(now: number): number {
    const current = this.played.at(-1);
    if (!this.last || !current) return this.last?.heard ?? 0;
    return this.last.playing ? Math.min(this.receivedMs, current.position + now - current.at) : this.last.heard;
  }

  get playing(): boolean {
    return this.last?.playing ?? false;
  }

  /** Arrived, and still to be heard. */
  bufferedMs(now: number): number {
    return this.stoppedAt === null ? Math.max(0, this.receivedMs - this.heardAt(now)) : 0;
  }
}

export class History {
  readonly voice: Point[] = [];
  readonly rtt: Point[] = [];
  readonly stretches: Stretch[] = [];
  readonly marks: Mark[] = [];
  readonly replies = new Map<number, ReplyTrack>();
  private beats: { at: number; sent: number; returned: number }[] = [];

  /** How loud the person is, between 0 and 1. */
  heard(at: number, level: number): void {
    this.voice.push({ at, value: level });
  }

  reply(generation: number): ReplyTrack {
    let track = this.replies.get(generation);
    if (!track) this.replies.set(generation, (track = new ReplyTrack()));
    return track;
  }

  /** How the network does; `sent` and `returned` count heartbeats of this call. */
  network(at: number, kind: PathKind, rttMs: number | null, sent: number, returned: number): void {
    const current = this.stretches.at(-1);
    if (current?.kind === kind) {
      current.to = at;
    } else {
      if (current) current.to = at;
      this.stretches.push({ from: at, to: at, kind });
    }
    if (rttMs !== null && (kind === "webtransport" || kind === "websocket")) this.rtt.push({ at, value: rttMs });
    this.beats.push({ at, sent, returned });
  }

  mark(at: number, kind: Mark["kind"], label: string): void {
    this.marks.push({ at, kind, label });
  }

  /** The share of heartbeats of the last ten seconds that did not come back; those of this moment are still out. */
  loss(now: number, flightMs = 1_000): number | null {
    const old = this.beats.find(({ at }) => at >= now - 10_000);
    const due = this.beats.findLast(({ at }) => at <= now - flightMs);
    const last = this.beats.at(-1);
    if (!old || !due || !last || due.sent <= old.sent) return null;
    const missing = Math.max(0, due.sent - Math.max(last.returned, due.returned));
    return missing / (due.sent - old.sent);
  }

  /** A new call counts from zero. */
  restart(): void {
    this.beats = [];
    this.replies.clear();
  }

  /** Forget what has left the picture. */
  forget(now: number): void {
    const before = now - KEPT_MS;
    for (const list of [this.voice, this.rtt, this.marks, this.beats]) {
      const keep = list.findIndex(({ at }) => at >= before);
      list.splice(0, keep < 0 ? list.length : keep);
    }
    while (this.stretches[0] && this.stretches[0].to < before) this.stretches.shift();
    for (const [generation, track] of this.replies) {
      const end = track.played.at(-1);
      const over = track.stoppedAt ?? (track.playing || !end ? now : end.at + end.ms);
      if (over < before) this.replies.delete(generation);
    }
  }
}
