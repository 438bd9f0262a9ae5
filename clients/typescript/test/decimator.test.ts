// What comes out has the right length, the right level, and nothing that folds back.

import { describe, expect, test } from "vitest";

import { Decimator, toInt16 } from "../src/audio/decimator.ts";

const tone = (hz: number, count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, index) => 0.5 * Math.sin((2 * Math.PI * hz * index) / 48_000));

const level = (samples: Int16Array): number =>
  Math.sqrt(samples.slice(100).reduce((sum, sample) => sum + (sample / 32_768) ** 2, 0) / (samples.length - 100));

describe.each([2, 3])("by %i", (factor) => {
  test("gives every sample of that rate once, whatever the chunks", () => {
    const whole = new Decimator(factor).take(tone(400, 9_600));
    const decimator = new Decimator(factor);
    const pieces = [1, 7, 480, 959, 8_153].reduce<{ at: number; found: number[] }>(
      ({ at, found }, size) => ({ at: at + size, found: [...found, ...decimator.take(tone(400, 9_600).slice(at, at + size))] }),
      { at: 0, found: [] },
    );
    expect(pieces.found).toEqual([...whole]);
    expect(whole).toHaveLength(9_600 / factor);
  });

  test("keeps speech and removes what would fold back", () => {
    expect(level(new Decimator(factor).take(tone(1_000, 48_000)))).toBeCloseTo(0.5 / Math.SQRT2, 3);
    expect(level(new Decimator(factor).take(tone((0.65 * 48_000) / factor, 48_000)))).toBeLessThan(0.001);
  });
});

test("by 1 changes nothing", () => {
  expect([...new Decimator(1).take(Float32Array.of(0.5, -0.25, 0))]).toEqual([16_384, -8_192, 0]);
});

test.each([
  [1, 32_767],
  [-1, -32_768],
  [2, 32_767],
  [0.5, 16_384],
])("%d becomes %d", (sample, integer) => {
  expect(toInt16(sample)).toBe(integer);
});
