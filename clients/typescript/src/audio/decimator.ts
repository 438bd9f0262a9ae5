// From 48 kHz, which browsers' Opus decoders always give, to the rate of a call. Must not know codecs.
//
// A windowed sinc (Blackman, cut at 0.45 of the new rate) over 16 samples of the new rate: what an Opus stream of that
// rate holds lies below the cut, so little is there to be lost.

const SPAN = 16;
const CUT = 0.45;

export class Decimator {
  private readonly taps: Float32Array;
  private history: Float32Array;
  /** Samples until the next one to give. */
  private skip = 0;

  /** `factor` samples in give one out. */
  constructor(private readonly factor: number) {
    this.taps = factor === 1 ? Float32Array.of(1) : lowPass(SPAN * factor + 1, CUT / factor);
    this.history = new Float32Array(this.taps.length - 1);
  }

  /** Take samples between -1 and 1; returns 16-bit ones, in all exactly every `factor`th. */
  take(samples: Float32Array): Int16Array {
    const { taps, factor } = this;
    const all = new Float32Array(this.history.length + samples.length);
    all.set(this.history);
    all.set(samples, this.history.length);
    const given = Math.max(0, Math.ceil((samples.length - this.skip) / factor));
    const output = new Int16Array(given);
    for (let index = 0; index < given; index += 1) {
      const start = this.skip + index * factor;
      let sum = 0;
      for (let tap = 0; tap < taps.length; tap += 1) sum += taps[tap]! * all[start + tap]!;
      output[index] = toInt16(sum);
    }
    this.skip += given * factor - samples.length;
    this.history = all.slice(samples.length);
    return output;
  }
}

/** A sample between -1 and 1 as 16 bits, the loudest ones cut. */
export function toInt16(sample: number): number {
  return Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_768)));
}

/** A filter of `length` taps, of unit gain at 0 Hz; `cut` is a share of the sample rate. */
function lowPass(length: number, cut: number): Float32Array {
  const middle = (length - 1) / 2;
  const taps = Float32Array.from({ length }, (_, index) => {
    const x = 2 * Math.PI * cut * (index - middle);
    const phase = (2 * Math.PI * index) / (length - 1);
    const window = 0.42 - 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase);
    return window * (x === 0 ? 1 : Math.sin(x) / x);
  });
  const gain = taps.reduce((sum, tap) => sum + tap, 0);
  return taps.map((tap) => tap / gain);
}
