// How late a loudspeaker is said to be, and how often a browser is asked.

import { expect, test } from "vitest";

import { LatencyGauge } from "../src/audio/latency.ts";

class Context {
  baseLatency = 0.01;
  currentTime = 0;
  asked = 0;
  given = 0.03;

  get outputLatency(): number {
    this.asked += 1;
    return this.given;
  }
}

test("what a device usually needs is assumed until it says so", () => {
  const context = new Context();
  const gauge = new LatencyGauge(context, false);
  expect(gauge.seconds).toBeCloseTo(0.05);
  context.given = 0;
  gauge.look();
  expect(gauge.seconds).toBeCloseTo(0.05);
  context.given = 0.2;
  gauge.look();
  expect(gauge.seconds).toBeCloseTo(0.21);
});

test("a browser that may stand still is asked a single time, when its device runs", () => {
  const context = new Context();
  const gauge = new LatencyGauge(context, true);
  gauge.look();
  expect(context.asked).toBe(0);
  context.currentTime = 2;
  gauge.look();
  gauge.look();
  expect([context.asked, gauge.seconds]).toEqual([1, 0.04]);
});
