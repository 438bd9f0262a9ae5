// When to look whether the path works, and when to doubt it.

import { expect, test } from "vitest";

import { Heartbeat } from "../src/network/heartbeat.ts";

const MS = 1_000;

test("beats twice a second while audio flows and rarely otherwise", () => {
  const heart = new Heartbeat();
  heart.busy(0);
  expect(heart.beat(0)).toBe(0);
  expect(heart.beat(499 * MS)).toBeNull();
  expect(heart.beat(500 * MS)).toBe(1);
  const idle = new Heartbeat();
  expect(idle.beat(0)).toBe(0);
  idle.echoed(0, 1 * MS);
  expect(idle.beat(14_999 * MS)).toBeNull();
  idle.busy(14_999 * MS);
  expect(idle.beat(14_999 * MS)).toBe(1);
});

test("asks again soon when there is no answer", () => {
  const heart = new Heartbeat();
  heart.beat(0);
  expect(heart.beat(499 * MS)).toBeNull();
  expect(heart.beat(500 * MS)).toBe(1);
});

test("measures the round trip, smoothed", () => {
  const heart = new Heartbeat();
  heart.beat(0);
  heart.echoed(0, 80 * MS);
  expect(heart.rttUs).toBe(80 * MS);
  const second = heart.beat(15_000 * MS)!;
  heart.echoed(second, 15_160 * MS);
  expect(heart.rttUs).toBe(90 * MS);
  heart.echoed(second, 20_000 * MS);
  heart.echoed(77, 20_000 * MS);
  expect([heart.rttUs, heart.sent, heart.returned]).toEqual([90 * MS, 2, 2]);
});

test("doubts the path after a second and a half of nothing", () => {
  const heart = new Heartbeat();
  heart.busy(0);
  heart.beat(0);
  expect(heart.suspicious(1_499 * MS)).toBe(false);
  expect(heart.suspicious(1_500 * MS)).toBe(true);
  heart.alive(0);
  expect(heart.suspicious(1_500 * MS)).toBe(false);
});

test("doubts it sooner when there is a reason to, until an echo has come back", () => {
  const heart = new Heartbeat();
  heart.hurry();
  heart.beat(0);
  // What was under way when the path died proves nothing.
  heart.alive(100 * MS);
  expect(heart.beat(500 * MS)).toBe(1);
  expect(heart.suspicious(999 * MS)).toBe(false);
  expect(heart.suspicious(1_000 * MS)).toBe(true);
  heart.echoed(1, 1_000 * MS);
  heart.busy(1_000 * MS);
  heart.beat(2_000 * MS);
  expect(heart.suspicious(3_400 * MS)).toBe(false);
});

test("knows nothing of another connection", () => {
  const heart = new Heartbeat();
  heart.beat(0);
  heart.echoed(0, 30 * MS);
  heart.beat(20_000 * MS);
  heart.moved(21_000 * MS);
  heart.echoed(1, 21_010 * MS);
  expect([heart.rttUs, heart.returned, heart.heard]).toEqual([null, 1, 21_000 * MS]);
  expect(heart.beat(21_000 * MS)).toBe(2);
});

test("remembers a bounded number of heartbeats", () => {
  const heart = new Heartbeat();
  for (let beat = 0; beat < 40; beat += 1) heart.beat(beat * 20_000 * MS);
  heart.echoed(0, 40 * 20_000 * MS);
  expect(heart.returned).toBe(0);
});
