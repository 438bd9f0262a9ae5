// What the listener hears: replies queued in order and handed out sample by sample. Sans-IO.
//
// Owns the truth about what was heard. A device pulls from it, a call pushes into it; it knows neither clocks nor
// networks nor codecs. Positions are samples of the rate of the replies.
//
// Two positions of a part matter. `rendered` is what was given to the device, `heard` what has left the loudspeaker: the
// device needs its latency in between. `frames` counts everything the device took, silence included, and `spans` say
// which frames carried which samples, so that `heard` is exact over pauses and from one part to the next. A part that is
// stopped counts what the device has already: that will still sound.

import type { PlaybackState } from "../wire/messages.ts";

export interface PlayerReport {
  itemId: string;
  contentIndex: number;
  generation: number;
  played: number;
  buffered: number;
  underruns: number;
  state: PlaybackState;
}

interface Part {
  readonly itemId: string;
  readonly contentIndex: number;
  readonly generation: number;
  readonly chunks: Int16Array[];
  received: number;
  rendered: number;
  heard: number;
  underruns: number;
  complete: boolean;
  dry: boolean;
  state: PlaybackState;
}

interface Span {
  readonly part: Part;
  readonly frame: number;
  readonly position: number;
  count: number;
}

/** Fades against clicks, and the interval of reports while playing. */
const FADE_S = 0.003;
const REPORT_S = 0.2;

export class PlaybackBuffer {
  frames = 0;
  underruns = 0;
  private queue: Part[] = [];
  private readonly spans: Span[] = [];
  private readonly changed = new Set<Part>();
  private flushed = 0;
  private held = false;
  private reported = 0;
  private last = 0;
  private readonly fade: number;
  private falling = 0;
  private rising = 0;

  /** `startSamples`: how much of a part must be here before it starts, unless it is complete. */
  constructor(
    private readonly rate: number,
    private readonly startSamples = 0,
  ) {
    this.fade = Math.max(1, Math.round(rate * FADE_S));
  }

  /** Samples that wait to be played, over all parts. */
  get buffered(): number {
    return this.queue.reduce((sum, part) => sum + part.received - part.rendered, 0);
  }

  /** Whether something is being played at this moment. */
  get sounding(): boolean {
    return !this.held && this.current?.state === "playing";
  }

  /** Expect a part; ignored when its generation was flushed already. */
  begin(generation: number, itemId: string, contentIndex: number): void {
    if (generation <= this.flushed) return;
    const counts = { received: 0, rendered: 0, heard: 0, underruns: 0 };
    const flags = { complete: false, dry: false, state: "playing" as const };
    const part: Part = { generation, itemId, contentIndex, chunks: [], ...counts, ...flags };
    const behind = this.queue.findIndex((other) => other.generation > generation && other.rendered === 0);
    if (behind < 0) this.queue.push(part);
    else this.queue.splice(behind, 0, part);
  }

  /** Queue samples; ignored when the part was flushed. */
  append(generation: number, pcm: Int16Array): void {
    const part = this.queue.find((one) => one.generation === generation);
    if (!part || part.complete || !pcm.length) return;
    part.chunks.push(pcm);
    part.received += pcm.length;
  }

  /** Nothing more of the part will come. */
  complete(generation: number): void {
    const part = this.queue.find((one) => one.generation === generation);
    if (part) part.complete = true;
  }

  /** Drop the generations `first` to `last` at once. */
  flush(first: number, last: number): void {
    if (first <= this.flushed + 1) this.flushed = Math.max(this.flushed, last);
    const stale = this.queue.filter(({ generation }) => first <= generation && generation <= last);
    if (!stale.length) return;
    this.queue = this.queue.filter((part) => !stale.includes(part));
    for (const part of stale) {
      part.chunks.length = 0;
      part.received = part.heard = part.rendered;
      part.state = "stopped";
      this.changed.add(part);
    }
    this.fall();
  }

  /** Drop everything: another call begins, and generations with it at 1. */
  restart(): void {
    this.flush(1, Number.MAX_SAFE_INTEGER);
    this.flushed = 0;
  }

  /** Go quiet and wait, or go on from the very sample. */
  hold(held: boolean): void {
    if (held === this.held) return;
    this.held = held;
    if (held) this.fall();
    else this.rising = this.fade;
    const { current } = this;
    if (!current) return;
    current.state = held ? "paused" : "playing";
    this.changed.add(current);
  }

  /** Fill `output` for the loudspeaker; silence where there is nothing to play. */
  pull(output: Float32Array): void {
    let at = 0;
    while (at < output.length && !this.held) {
      const part = this.queue.find((one) => !one.complete || one.rendered < one.received);
      if (!part) break;
      const taken = this.render(part, output, at);
      if (!taken) break;
      at += taken;
    }
    for (; at < output.length; at += 1) output[at] = this.tail();
    this.frames += output.length;
  }

  /** What changed, and every 200 ms what is being played. `latency`: samples between the device and the ear. */
  reports(latency: number): PlayerReport[] {
    this.advance(this.frames - latency);
    while (this.queue[0]?.complete && this.queue[0].heard === this.queue[0].received) {
      const done = this.queue.shift()!;
      done.state = "done";
      this.changed.add(done);
    }
    const [current] = this.queue;
    if (current?.rendered && !this.held && this.frames - this.reported >= this.rate * REPORT_S) {
      this.changed.add(current);
    }
    if (!this.changed.size) return [];
    this.reported = this.frames;
    const due = [...this.changed].map(asReport);
    this.changed.clear();
    return due;
  }

  /** What is being played, or is held. */
  private get current(): Part | null {
    const [first] = this.queue;
    return first?.rendered && first.state !== "done" ? first : null;
  }

  private render(part: Part, output: Float32Array, at: number): number {
    const waiting = part.received - part.rendered;
    if (!waiting) {
      if (part.rendered && !part.dry) {
        part.dry = true;
        part.underruns += 1;
        this.underruns += 1;
        this.changed.add(part);
        this.fall();
      }
      return 0;
    }
    if (!part.rendered && waiting < this.startSamples && !part.complete) return 0;
    part.dry = false;
    if (!part.rendered) this.changed.add(part);
    const count = this.copy(part, output, at);
    this.note(part, this.frames + at, count);
    part.rendered += count;
    return count;
  }

  /** Moves samples of one chunk; returns how many. */
  private copy(part: Part, output: Float32Array, at: number): number {
    const chunk = part.chunks[0]!;
    const count = Math.min(chunk.length, output.length - at);
    for (let index = 0; index < count; index += 1) {
      let sample = chunk[index]! / 32_768;
      if (this.rising > 0) {
        sample *= 1 - this.rising / this.fade;
        this.rising -= 1;
      }
      output[at + index] = sample;
    }
    this.last = output[at + count - 1]!;
    this.falling = 0;
    if (count === chunk.length) part.chunks.shift();
    else part.chunks[0] = chunk.subarray(count);
    return count;
  }

  private note(part: Part, frame: number, count: number): void {
    const span = this.spans.at(-1);
    if (span?.part === part && span.frame + span.count === frame) span.count += count;
    else this.spans.push({ part, frame, position: part.rendered, count });
  }

  /** Everything before `frame` has been heard. */
  private advance(frame: number): void {
    while (this.spans.length) {
      const { part, frame: start, position, count } = this.spans[0]!;
      const heard = Math.min(count, frame - start);
      if (heard <= 0) return;
      part.heard = Math.max(part.heard, position + heard);
      if (heard < count) return;
      this.spans.shift();
    }
  }

  private fall(): void {
    this.falling = this.last === 0 ? 0 : this.fade;
  }

  /** Silence, reached from the last sample in a straight line: not one sample more of what was dropped. */
  private tail(): number {
    if (this.falling === 0) {
      this.last = 0;
      return 0;
    }
    this.falling -= 1;
    return (this.last * this.falling) / this.fade;
  }
}

function asReport(part: Part): PlayerReport {
  const { itemId, contentIndex, generation, underruns, state, received, heard } = part;
  return { itemId, contentIndex, generation, played: heard, buffered: received - heard, underruns, state };
}
