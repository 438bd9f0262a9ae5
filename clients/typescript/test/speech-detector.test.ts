// Loudness that may be speech, and what is none.

import { beforeEach, expect, test } from "vitest";

import { SpeechDetector } from "../src/audio/speech-detector.ts";

const RATE = 16_000;
let detector: SpeechDetector;

beforeEach(() => {
  detector = new SpeechDetector(RATE);
});

/** Hear a tone of a level for a while; returns after how many milliseconds it changed its mind, null if it did not. */
function hear(db: number, ms: number): number | null {
  const amplitude = Math.SQRT2 * 10 ** (db / 20);
  let changed: number | null = null;
  for (let at = 0; at < ms; at += 8) {
    const samples = Float32Array.from({ length: 128 }, (_, index) => amplitude * Math.sin(((at * 16 + index) * 2 * Math.PI * 200) / RATE));
    if (detector.take(samples)) changed ??= at + 8;
  }
  return changed;
}

test("speech is noticed within 40 ms of its beginning", () => {
  expect(hear(-70, 1_000)).toBeNull();
  expect(hear(-30, 200)).toBeLessThanOrEqual(40);
  expect(detector.speaking).toBe(true);
});

test("a click is none", () => {
  hear(-70, 1_000);
  expect(hear(-20, 16)).toBeNull();
  expect(hear(-70, 500)).toBeNull();
});

test("what is quieter than any voice is none", () => {
  hear(-85, 1_000);
  expect(hear(-55, 1_000)).toBeNull();
});

test("pauses between words do not end it, a longer one does", () => {
  hear(-70, 1_000);
  hear(-30, 300);
  expect(hear(-70, 200)).toBeNull();
  hear(-30, 300);
  expect(hear(-70, 500)).toBeGreaterThan(280);
  expect(detector.speaking).toBe(false);
});

test("a noise that stays becomes the floor, above which speech is noticed", () => {
  hear(-70, 500);
  hear(-45, 12_000);
  expect(detector.speaking).toBe(false);
  expect(hear(-25, 200)).toBeLessThanOrEqual(40);
});
