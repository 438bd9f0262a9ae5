// Who carries the call, in virtual time.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { race, RaceLost, type RaceSettings } from "../src/transports/race.ts";
import { FakeAttempt } from "./fakes.ts";

let webtransport: FakeAttempt;
let websocket: FakeAttempt;
let started: [name: string, at: number][];
let settings: RaceSettings;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  webtransport = new FakeAttempt("webtransport");
  websocket = new FakeAttempt("websocket");
  started = [];
  const start = (attempt: FakeAttempt) => () => {
    started.push([attempt.transport.name, Date.now()]);
    return attempt;
  };
  settings = {
    ...{ webtransport: start(webtransport), websocket: start(websocket) },
    ...{ headStartMs: 300, hardStopMs: 3_000, patienceMs: 10_000 },
  };
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("a race", () => {
  test("is over before the WebSocket starts when WebTransport is quick", async () => {
    const winner = race(settings);
    webtransport.succeed();
    expect(await winner).toEqual({ transport: webtransport.transport, lost: null });
    await vi.advanceTimersByTimeAsync(400);
    expect(started).toEqual([["webtransport", 0]]);
  });

  test("goes to the WebSocket where UDP is swallowed", async () => {
    const winner = race(settings);
    await vi.advanceTimersByTimeAsync(300);
    websocket.succeed();
    expect(await winner).toEqual({ transport: websocket.transport, lost: "the WebSocket was ready first" });
    expect(webtransport.abandoned).toBe(true);
    expect(started).toEqual([["webtransport", 0], ["websocket", 300]]);
  });

  test("does not wait for the head start when WebTransport fails at once", async () => {
    const winner = race(settings);
    await vi.advanceTimersByTimeAsync(10);
    webtransport.fail("handshake failed");
    await vi.advanceTimersByTimeAsync(0);
    expect(started).toEqual([["webtransport", 0], ["websocket", 10]]);
    websocket.succeed();
    expect(await winner).toMatchObject({ lost: "handshake failed" });
  });

  test("gives WebTransport up after the hard stop, even if it comes later", async () => {
    const winner = race(settings);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(webtransport.abandoned).toBe(true);
    webtransport.succeed();
    websocket.succeed();
    expect(await winner).toEqual({ transport: websocket.transport, lost: "no answer within 3000 ms" });
  });

  test("abandons the WebSocket that comes second", async () => {
    const winner = race(settings);
    await vi.advanceTimersByTimeAsync(400);
    webtransport.succeed();
    expect((await winner).transport).toBe(webtransport.transport);
    expect(websocket.abandoned).toBe(true);
  });

  test("leaves out whoever is not to take part", async () => {
    const winner = race({ ...settings, webtransport: null });
    expect(started).toEqual([["websocket", 0]]);
    websocket.succeed();
    expect(await winner).toMatchObject({ lost: null });
  });

  test("that nobody wins says why for each", async () => {
    const lost = race(settings).catch((error: unknown) => error);
    webtransport.fail("no UDP");
    await vi.advanceTimersByTimeAsync(0);
    websocket.fail("no TCP");
    const error = (await lost) as RaceLost;
    expect(error).toBeInstanceOf(RaceLost);
    expect(error.message).toBe("WebTransport: no UDP; WebSocket: no TCP");
  });

  test("ends in any case", async () => {
    const lost = race(settings).catch((error: Error) => error.message);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await lost).toBe("WebTransport: no answer within 3000 ms; WebSocket: no answer within 10000 ms");
    expect(websocket.abandoned).toBe(true);
  });

  test("can be given up", async () => {
    const control = new AbortController();
    const lost = race(settings, control.signal).catch((error: Error) => error.message);
    control.abort();
    expect(await lost).toContain("given up");
    expect([webtransport.abandoned, started.length]).toEqual([true, 1]);
  });

  test("is lost when nobody takes part, and when a browser throws", async () => {
    await expect(race({ ...settings, webtransport: null, websocket: null })).rejects.toBeInstanceOf(RaceLost);
    const broken = (): never => {
      throw new Error("bad URL");
    };
    const lost = race({ ...settings, webtransport: broken, websocket: null });
    await expect(lost).rejects.toMatchObject({ webtransport: "bad URL" });
  });
});
