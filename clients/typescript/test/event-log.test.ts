// Counted events: kept until they are acknowledged, within bounds.

import { expect, test } from "vitest";

import { EventLog } from "../src/core/event-log.ts";

const saying = (log: EventLog, ...sizes: number[]): void => sizes.forEach((size) => log.say(new Uint8Array(size).fill(size)));

test("what is not acknowledged can be said again, in order", () => {
  const log = new EventLog();
  saying(log, 1, 2, 3);
  expect(log.after(1).map(({ length }) => length)).toEqual([2, 3]);
  log.acknowledge(2);
  expect(log.after(0).map(({ length }) => length)).toEqual([3]);
  expect(log.keptBytes).toBe(64 + 3);
});

test("more than was said cannot be acknowledged", () => {
  const log = new EventLog();
  saying(log, 1);
  expect(() => log.acknowledge(2)).toThrow("acknowledged 2 events of 1 said");
});

test("memory is bounded: the oldest goes", () => {
  const log = new EventLog();
  for (let event = 0; event < 40; event += 1) saying(log, 100_000);
  expect(log.keptBytes).toBeLessThanOrEqual(2 << 20);
  expect(log.said).toBe(40);
  expect(log.after(0)).toHaveLength(20);
});

test("nothing is kept for a call that cannot be resumed", () => {
  const log = new EventLog();
  saying(log, 1);
  log.keepNothing();
  saying(log, 2);
  expect([log.keptBytes, log.after(0), log.said]).toEqual([0, [], 2]);
});

test("the server's are acknowledged at the latest after 32, or 64 KiB", () => {
  const log = new EventLog();
  const due = Array.from({ length: 33 }, () => log.take(10));
  expect(due.indexOf(true)).toBe(31);
  expect(log.tell()).toBe(33);
  expect([log.take(65_535), log.take(1)]).toEqual([false, true]);
});
