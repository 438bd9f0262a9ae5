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
  heart.alive(1_499 * MS);
  expect(heart.suspicious(1_500 * MS)).toBe(false);
  heart.beat(1_500 * MS);
  expect([heart.suspicious(2_999 * MS), heart.suspicious(3_000 * MS)]).toEqual([false, true]);
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
  heart.echoed(heart.beat(1_000 * MS)!, 1_020 * MS);
  heart.busy(1_020 * MS);
  heart.beat(2_000 * MS);
  expect(heart.suspicious(3_400 * MS)).toBe(false);
});

test("trusts a doubted path again by what is younger than the doubt, not by what it hears", () => {
  const heart = new Heartbeat();
  const old = heart.beat(0)!;
  expect(heart.suspicious(1_500 * MS, 700, 2_400)).toBe(true);
  heart.alive(1_550 * MS);
  heart.echoed(old, 1_560 * MS);
  expect(heart.suspicious(1_600 * MS, 2_400, 2_480)).toBe(true);
  heart.echoed(heart.beat(1_600 * MS)!, 1_620 * MS);
  expect(heart.suspicious(1_700 * MS, 2_400, 2_560)).toBe(false);
  heart.beat(17_000 * MS);
  expect(heart.suspicious(18_500 * MS, 2_400, 4_000)).toBe(true);
  expect(heart.suspicious(18_600 * MS, 4_001, 4_080)).toBe(false);
});

test("gives up hope when doubt lasts", () => {
  const heart = new Heartbeat();
  heart.beat(0);
  heart.suspicious(1_500 * MS);
  expect([heart.hopeless(5_999 * MS), heart.hopeless(6_000 * MS)]).toEqual([false, true]);
  heart.moved(6_100 * MS);
  expect(heart.hopeless(20_000 * MS)).toBe(false);
});

test("takes no answer to an earlier heartbeat for one to a hurried one", () => {
  const heart = new Heartbeat();
  const early = heart.beat(0)!;
  heart.hurry();
  heart.beat(10 * MS);
  heart.echoed(early, 20 * MS);
  heart.beat(510 * MS);
  expect(heart.suspicious(1_010 * MS)).toBe(true);
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
