// What comes out has the right length, the right level, nothing that folds back; and positions stay exact.

import { describe, expect, test } from "vitest";

import { PlaybackBuffer } from "../src/audio/playback-buffer.ts";
import { Resampler } from "../src/audio/resampler.ts";

const QUANTUM = 128;
const LEVEL = 0.5;

/** A tone without an end, block by block. */
function tone(hz: number, rate: number): (block: Float32Array) => void {
  let at = 0;
  return (block) => {
    for (let index = 0; index < block.length; index += 1, at += 1) block[index] = LEVEL * Math.sin((2 * Math.PI * hz * at) / rate);
  };
}

/** So many samples, pulled as an audio thread does. */
function pulled(resampler: Resampler, source: (block: Float32Array) => void, count: number, quantum = QUANTUM): Float32Array {
  const output = new Float32Array(count);
  for (let at = 0; at < count; at += quantum) resampler.fill(output.subarray(at, Math.min(count, at + quantum)), source);
  return output;
}

const power = (samples: Float32Array): number => samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;

const RATES: [from: number, to: number][] = [
  [16_000, 48_000],
  [24_000, 48_000],
  [16_000, 44_100],
  [24_000, 44_100],
  [48_000, 44_100],
  [24_000, 16_000],
  [48_000, 96_000],
];

describe.each(RATES)("from %i to %i Hz", (from, to) => {
  test("a tone is the same tone, late by what it says", () => {
    const resampler = new Resampler(from, to);
    const hz = 1_000;
    const given = pulled(resampler, tone(hz, from), to);
    const settled = Math.ceil((2 * resampler.delay * to) / from);
    const wrong = given.map((sample, at) => sample - LEVEL * Math.sin(2 * Math.PI * hz * (at / to - resampler.delay / from)));
    const noiseDb = 10 * Math.log10(power(wrong.subarray(settled)) / (LEVEL ** 2 / 2));
    expect(noiseDb).toBeLessThan(-70);
  });

  test("takes exactly as much as it gives, whatever the blocks", () => {
    const resampler = new Resampler(from, to);
    let taken = 0;
    const source = (block: Float32Array): void => {
      taken += block.length;
      block.fill(LEVEL);
    };
    const rest = pulled(resampler, source, 3 * to, 1_000).subarray(to);
    expect(taken).toBe(3 * from);
    expect(rest.findIndex((sample) => Math.abs(sample - LEVEL) > 1e-6)).toBe(-1);
  });

  test("gives the same in blocks of any size", () => {
    const whole = pulled(new Resampler(from, to), tone(700, from), 3_000, 3_000);
    expect(pulled(new Resampler(from, to), tone(700, from), 3_000, 7)).toEqual(whole);
  });

  test("a player counts to the sample what of a reply has left it", () => {
    const player = new PlaybackBuffer(from);
    const resampler = new Resampler(from, to);
    const latency = Math.round(0.03 * from);
    const [length, edge] = [Math.round(0.4 * from), Math.round(0.2 * from)];
    // Silent at first: the moment at which it is no more is where `edge` is heard.
    const pcm = Int16Array.from({ length }, (_, at) => (at < edge ? 0 : 16_384));
    player.begin(1, "a", 0);
    player.append(1, pcm);
    player.complete(1);
    let [heard, state, edgeHeard] = [0, "", -1];
    const output = new Float32Array(QUANTUM);
    for (let frame = 0; state !== "done" && frame < to; frame += QUANTUM) {
      resampler.fill(output, (block) => player.pull(block));
      const rose = output.findIndex((sample) => sample > 0.25);
      for (const report of player.reports(latency + resampler.delay)) ({ played: heard, state } = report);
      if (rose >= 0 && edgeHeard < 0) edgeHeard = ((frame + rose) * from) / to;
    }
    expect([heard, state]).toEqual([length, "done"]);
    expect(Math.abs(edgeHeard - resampler.delay - edge)).toBeLessThan(1.5);
  });
});

test("what the slower rate does not hold is removed", () => {
  const down = pulled(new Resampler(48_000, 16_000), tone(9_500, 48_000), 16_000).subarray(200);
  expect(10 * Math.log10(power(down))).toBeLessThan(-70);
  const up = pulled(new Resampler(16_000, 48_000), tone(5_000, 16_000), 48_000).subarray(400);
  // Its mirror image would lie at 11 kHz.
  const image = up.reduce((sum, sample, at) => sum + sample * Math.sin((2 * Math.PI * 11_000 * at) / 48_000), 0) / up.length;
  expect(Math.abs(image)).toBeLessThan(1e-4);
});

test("at the same rate every sample is left as it is", () => {
  const resampler = new Resampler(48_000, 48_000);
  expect(resampler.delay).toBe(0);
  const given = Float32Array.from({ length: 1_000 }, (_, at) => Math.sin(at));
  let at = 0;
  expect(pulled(resampler, (block) => block.set(given.subarray(at, (at += block.length))), 1_000)).toEqual(given);
});
