// The player hands out what it got, sample by sample, and says truly how much of it was heard.

import { beforeEach, describe, expect, test } from "vitest";

import { PlaybackBuffer } from "../src/audio/playback-buffer.ts";

const RATE = 1_000;
const FADE = 3;
let player: PlaybackBuffer;

beforeEach(() => {
  player = new PlaybackBuffer(RATE);
});

/** Samples start, start + 1, ... as 16-bit integers. */
const ramp = (start: number, count: number): Int16Array => Int16Array.from({ length: count }, (_, index) => start + index);

/** What the next `count` frames sound like, as 16-bit integers. */
function heard(count: number): number[] {
  const output = new Float32Array(count);
  player.pull(output);
  return Array.from(output, (sample) => sample * 32_768);
}

const silence = (count: number): number[] => new Array(count).fill(0);

describe("playing", () => {
  test("gives every sample once, in order, over chunks of any size", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 3));
    player.append(1, ramp(4, 5));
    player.complete(1);
    expect([...heard(2), ...heard(4), ...heard(4)]).toEqual([...ramp(1, 8), ...silence(2)]);
  });

  test("goes from one part to the next without a gap, in the order of generations", () => {
    player.begin(2, "b", 0);
    player.append(2, ramp(100, 2));
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 2));
    player.complete(1);
    player.complete(2);
    expect(heard(4)).toEqual([1, 2, 100, 101]);
  });

  test("waits for a cushion at the beginning of a part, unless that is all", () => {
    player = new PlaybackBuffer(RATE, 4);
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 3));
    expect(heard(2)).toEqual([0, 0]);
    player.append(1, ramp(4, 1));
    expect(heard(4)).toEqual([1, 2, 3, 4]);
    player.begin(2, "b", 0);
    player.append(2, ramp(9, 1));
    player.complete(1);
    player.complete(2);
    expect(heard(1)).toEqual([9]);
  });

  test("counts an underrun once for each dry spell, and fades into it", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1_000, 1));
    expect(heard(5)).toEqual([1_000, 666.67, 333.33, 0, 0].map((value) => expect.closeTo(value, 2)));
    expect(heard(3)).toEqual(silence(3));
    player.append(1, ramp(1, 1));
    expect(heard(1)).toEqual([1]);
    expect(player.underruns).toBe(1);
    heard(1);
    expect(player.underruns).toBe(2);
  });
});

describe("reports", () => {
  test("say what has left the loudspeaker, not what was given to the device", () => {
    player.begin(1, "a", 3);
    player.append(1, ramp(1, 100));
    heard(60);
    expect(player.reports(40)).toEqual([
      { itemId: "a", contentIndex: 3, generation: 1, played: 20, buffered: 80, underruns: 0, state: "playing" },
    ]);
  });

  test("come every 200 ms while playing, and not in between", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 1_000));
    heard(10);
    expect(player.reports(0)).toHaveLength(1);
    heard(199);
    expect(player.reports(0)).toEqual([]);
    heard(1);
    expect(player.reports(0)).toMatchObject([{ played: 210, state: "playing" }]);
  });

  test("say done when the last sample was heard, however long the device takes", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 10));
    player.complete(1);
    heard(10);
    expect(player.reports(25)).toMatchObject([{ played: 0, state: "playing" }]);
    heard(20);
    expect(player.reports(25)).toEqual([]);
    heard(5);
    expect(player.reports(25)).toMatchObject([{ played: 10, buffered: 0, state: "done" }]);
    expect(player.reports(25)).toEqual([]);
  });

  test("keep both parts apart while the device holds the end of one and the beginning of the next", () => {
    for (const generation of [1, 2]) {
      player.begin(generation, `item ${generation}`, 0);
      player.append(generation, ramp(1, 10));
      player.complete(generation);
    }
    heard(15);
    expect(player.reports(8)).toMatchObject([
      { generation: 1, played: 7 },
      { generation: 2, played: 0 },
    ]);
    heard(5);
    expect(player.reports(8)).toMatchObject([{ generation: 1, played: 10, state: "done" }]);
  });

  test("are exact over a dry spell longer than the latency", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 10));
    heard(100);
    player.append(1, ramp(11, 10));
    heard(5);
    expect(player.reports(20)).toMatchObject([{ played: 10, underruns: 1 }]);
  });

  test("of a part without audio say done", () => {
    player.begin(1, "a", 0);
    player.complete(1);
    expect(player.reports(0)).toMatchObject([{ played: 0, state: "done" }]);
  });
});

describe("a flush", () => {
  test("is silence at once, with a fade and without one sample of what was dropped", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(10_000, 1_000));
    heard(100);
    player.flush(1, 1);
    const after = heard(8);
    expect(after.slice(FADE)).toEqual(silence(8 - FADE));
    expect(Math.max(...after)).toBeLessThan(10_099);
    expect(player.buffered).toBe(0);
  });

  test("reports what the device has already as heard: it will sound", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 1_000));
    heard(100);
    player.reports(30);
    player.flush(1, 1);
    expect(player.reports(30)).toMatchObject([{ played: 100, buffered: 0, state: "stopped" }]);
    heard(100);
    expect(player.reports(30)).toEqual([]);
  });

  test("leaves later parts alone and refuses what comes late", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 5));
    player.begin(2, "b", 0);
    player.append(2, ramp(50, 2));
    player.flush(1, 1);
    player.append(1, ramp(6, 5));
    player.begin(1, "a", 0);
    player.append(1, ramp(6, 5));
    expect(heard(2)).toEqual([50, 51]);
  });

  test("of one later generation keeps the one before it", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 2));
    player.begin(2, "b", 0);
    player.append(2, ramp(50, 2));
    player.flush(2, 2);
    player.begin(3, "c", 0);
    player.append(3, ramp(70, 1));
    player.complete(1);
    expect(heard(3)).toEqual([1, 2, 70]);
  });
});

test("another call begins with its own numbers, and nothing of the one before", () => {
  player.begin(3, "a", 0);
  player.append(3, ramp(10_000, 100));
  heard(10);
  player.restart();
  player.begin(1, "b", 0);
  player.append(1, ramp(1, 3));
  player.complete(1);
  expect(heard(3)).toEqual([1, 2, 3]);
  expect(player.reports(0)).toMatchObject([
    { itemId: "a", played: 10, state: "stopped" },
    { itemId: "b", played: 3, state: "done" },
  ]);
});

describe("holding", () => {
  test("goes quiet and then on from the very sample", () => {
    player.begin(1, "a", 0);
    player.append(1, ramp(10_000, 100));
    heard(10);
    player.reports(0);
    player.hold(true);
    expect(heard(20).slice(FADE)).toEqual(silence(20 - FADE));
    expect(player.reports(0)).toMatchObject([{ played: 10, state: "paused" }]);
    player.hold(false);
    const after = heard(8);
    expect(after[0]).toBe(0);
    expect(after.slice(FADE)).toEqual([...ramp(10_010 + FADE, 8 - FADE)]);
    expect(player.reports(0)).toMatchObject([{ played: 18, state: "playing" }]);
    expect(player.underruns).toBe(0);
  });

  test("before anything is played holds what comes", () => {
    player.hold(true);
    player.hold(true);
    player.begin(1, "a", 0);
    player.append(1, ramp(1, 4));
    expect(heard(4)).toEqual(silence(4));
    expect(player.reports(0)).toEqual([]);
  });
});
