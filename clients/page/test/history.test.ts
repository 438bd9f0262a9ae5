import { expect, test } from "vitest";

import { BIN_MS, History, KEPT_MS, ReplyTrack } from "../src/history.ts";

const RATE = 24_000;
const loud = (ms: number): Int16Array => new Int16Array((RATE * ms) / 1_000).fill(16_384);
const at = (heardMs: number, state: "playing" | "stopped" | "done" | "paused" = "playing") => ({ heardMs, state });

test("an envelope has one value for each stretch of sound", () => {
  const track = new ReplyTrack();
  for (let piece = 0; piece < 10; piece += 1) track.audio(loud(BIN_MS / 2), RATE);
  expect(track.envelope).toEqual([0.5, 0.5, 0.5, 0.5, 0.5]);
  expect(track.receivedMs).toBe(200);
});

test("between two reports a reply goes on playing, but not beyond what has arrived", () => {
  const track = new ReplyTrack();
  track.audio(loud(1_000), RATE);
  track.playback(100, at(0));
  expect(track.heardAt(400)).toBe(300);
  expect(track.heardAt(4_000)).toBe(1_000);
  expect(track.bufferedMs(400)).toBe(700);
});

test("a pause parts what was heard in two", () => {
  const track = new ReplyTrack();
  track.audio(loud(2_000), RATE);
  track.playback(0, at(0));
  track.playback(200, at(200));
  track.playback(300, at(300, "paused"));
  track.playback(1_000, at(300));
  track.playback(1_200, at(500));
  expect(track.played).toEqual([
    { at: 0, position: 0, ms: 300 },
    { at: 1_000, position: 300, ms: 200 },
  ]);
});

test("what is dropped is buffered no more", () => {
  const track = new ReplyTrack();
  track.audio(loud(2_000), RATE);
  track.playback(0, at(0));
  track.playback(500, at(500, "stopped"));
  expect(track.bufferedMs(500)).toBe(0);
  expect(track.stoppedAt).toBe(500);
});

test("the path is told in stretches", () => {
  const history = new History();
  history.network(0, "webtransport", 20, 1, 1);
  history.network(300, "webtransport", 22, 2, 2);
  history.network(600, "held", null, 3, 2);
  expect(history.stretches).toEqual([
    { from: 0, to: 600, kind: "webtransport" },
    { from: 600, to: 600, kind: "held" },
  ]);
  expect(history.rtt.map(({ value }) => value)).toEqual([20, 22]);
});

test("loss is what did not come back, and not what is still on its way", () => {
  const history = new History();
  history.network(0, "webtransport", 20, 0, 0);
  expect(history.loss(0)).toBeNull();
  history.network(1_000, "webtransport", 20, 10, 10);
  history.network(2_000, "webtransport", 20, 20, 15);
  expect(history.loss(2_000)).toBe(0);
  history.network(3_000, "webtransport", 20, 30, 15);
  expect(history.loss(3_000)).toBeCloseTo(0.25);
});

test("what has left the picture is forgotten", () => {
  const history = new History();
  history.heard(0, 0.5);
  history.network(0, "webtransport", 20, 1, 1);
  history.network(100, "websocket", 20, 1, 1);
  history.mark(0, "path", "begun");
  history.reply(1).playback(0, at(0));
  history.reply(1).playback(100, at(100, "stopped"));
  history.forget(KEPT_MS + 200);
  expect([history.voice, history.stretches, history.marks, history.rtt]).toEqual([[], [], [], []]);
  expect(history.replies.size).toBe(0);
});
