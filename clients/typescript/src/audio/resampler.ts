// From the rate of the replies to the rate of the loudspeaker, at the moment they are played. Must not know what plays.
//
// Firefox removes the echo only of what is played at the device's own rate, so every browser plays at that. A windowed
// sinc (Blackman) per phase of the ratio of both rates: exact for any two of them, so that positions do not drift.

/** Samples of the slower rate that bear on each one given. */
const TAPS = 48;
const CUT = 0.45;

export class Resampler {
  /** By how many samples of `from` what is given is behind what was taken. */
  readonly delay: number;
  /** Advance by `step / phases` of a sample of `from` for each one of `to`. */
  private readonly phases: number;
  private readonly step: number;
  private readonly taps: number;
  private readonly filters: Float32Array;
  private phase = 0;
  /** The latest `taps` samples, and behind them room for those that come next. */
  private window: Float32Array;

  constructor(from: number, to: number) {
    const common = divisor(from, to);
    this.phases = to / common;
    this.step = from / common;
    const slower = Math.min(1, to / from);
    this.taps = from === to ? 0 : 2 * Math.ceil(TAPS / 2 / slower);
    this.delay = from === to ? 0 : this.taps / 2 + 1;
    this.filters = lowPasses(this.phases, this.taps, CUT * slower);
    this.window = new Float32Array(this.taps);
  }

  /** Fill `output`; `source` is asked to fill a block with exactly the samples that this takes. */
  fill(output: Float32Array, source: (block: Float32Array) => void): void {
    const { taps, phases, step, filters } = this;
    if (!taps) return source(output);
    const taken = Math.floor((this.phase + output.length * step) / phases);
    if (this.window.length < taps + taken) {
      const wider = new Float32Array(taps + taken);
      wider.set(this.window.subarray(0, taps));
      this.window = wider;
    }
    const { window } = this;
    source(window.subarray(taps, taps + taken));
    for (let index = 0; index < output.length; index += 1) {
      const position = this.phase + index * step;
      const start = Math.floor(position / phases);
      const filter = (position % phases) * taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap += 1) sum += filters[filter + tap]! * window[start + tap]!;
      output[index] = sum;
    }
    this.phase = (this.phase + output.length * step) % phases;
    window.copyWithin(0, taken, taken + taps);
  }
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other);
}

/** For each phase a filter of unit gain at 0 Hz; `cut` is a share of the rate of what goes in. */
function lowPasses(phases: number, taps: number, cut: number): Float32Array {
  const all = new Float32Array(phases * taps);
  for (let phase = 0; phase < phases; phase += 1) {
    const filter = all.subarray(phase * taps, (phase + 1) * taps);
    let gain = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const at = tap - (taps / 2 - 1) - phase / phases;
      const turn = (2 * Math.PI * at) / taps;
      const window = 0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn);
      const x = 2 * Math.PI * cut * at;
      filter[tap] = window * (x === 0 ? 1 : Math.sin(x) / x);
      gain += filter[tap]!;
    }
    for (let tap = 0; tap < taps; tap += 1) filter[tap]! /= gain;
  }
  return all;
}
