// A call that an outage has driven to a WebSocket goes back to WebTransport, in virtual time, and nobody hears of it.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { WayBack } from "../src/network/way-back.ts";
import type { Attempt } from "../src/transports/base.ts";
import { pass, sampleAt, Stage } from "./stage.ts";

let stage: Stage;
/** When WebTransport was tried. */
let tried: number[];
/** What becomes of it: UDP goes nowhere, or is free again. */
let blocked: boolean;

const S = 1_000_000;
const NEVER: Attempt = { ready: new Promise(() => {}), abandon() {} };

function watched(settings: ConstructorParameters<typeof Stage>[0] = {}): Stage {
  const made = new Stage(settings);
  const attempt = made.network.attempt.bind(made.network);
  tried = [];
  made.network.attempt = (name) => {
    if (name === "webtransport") tried.push(Date.now());
    return name === "webtransport" && blocked ? NEVER : attempt(name);
  };
  return made;
}

/** The call, after an outage of UDP that began at once and has not ended. */
async function fallen(): Promise<void> {
  blocked = false;
  stage = await watched().begin();
  await pass(1_000);
  blocked = true;
  stage.link.die(0, 0);
  await pass(1_000);
  expect(stage.said("resumed")).toMatchObject([{ transport: "websocket" }]);
  tried = [];
}

const now = () => stage.said("statistics").at(-1)!.statistics;

beforeEach(() => void vi.useFakeTimers({ now: 1_000 }));

afterEach(() => {
  stage?.end();
  vi.useRealTimers();
});

describe("a call on a WebSocket", () => {
  test("goes back to WebTransport some seconds later, beside the other, and nothing is lost", async () => {
    await fallen();
    expect(now()).toMatchObject({ transport: "websocket", retriesWebTransport: true });
    const { server } = stage;
    const close = vi.spyOn(stage.link, "close");
    blocked = false;
    await pass(6_000);
    expect(stage.said("resumed").slice(1)).toMatchObject([{ continued: true, transport: "webtransport", lost: null, lostMs: 0 }]);
    expect(stage.said("resumed")[1]!.silentMs).toBeLessThan(500);
    expect(close).toHaveBeenCalledExactlyOnceWith(11, "another connection continues the call");
    expect(stage.paths()).toEqual(["lost", "sound"]);
    await pass(60_000);
    expect(tried).toHaveLength(1);
    expect(now()).toMatchObject({ transport: "webtransport", retriesWebTransport: false, resumes: 2, lostMs: 0 });
    stage.quiet();
    await pass(500);
    expect(server.faults).toEqual([]);
    expect(server.heard).toHaveLength(stage.captured);
    expect(server.heard.findIndex((sample, at) => sample !== sampleAt(at))).toBe(-1);
  });

  test("is tried for it ever more seldom while UDP is blocked, and not disturbed by that", async () => {
    await fallen();
    const from = Date.now();
    await pass(130_000);
    const waits = tried.map((at, index) => Math.round((at - (index ? tried[index - 1]! : from)) / 1_000));
    expect(waits.slice(1)).toEqual([8, 16, 32, 64]);
    expect(stage.said("resumed")).toHaveLength(1);
    expect(stage.paths()).toEqual(["lost", "sound"]);
  });

  test("goes back at a quiet moment: neither while somebody speaks, nor while a reply sounds", async () => {
    await fallen();
    blocked = false;
    stage.server.say({ type: "input_audio_buffer.speech_started" });
    await pass(10_000);
    stage.player.waits(1_000);
    stage.server.say({ type: "input_audio_buffer.speech_stopped" });
    await pass(10_000);
    expect(tried).toEqual([]);
    stage.player.waits(0);
    await pass(1_000);
    expect(stage.said("resumed")).toHaveLength(2);
  });

  test("that is never quiet goes back half a minute later", async () => {
    await fallen();
    blocked = false;
    stage.player.waits(1_000);
    await pass(32_000);
    expect(stage.said("resumed")).toHaveLength(1);
    await pass(4_000);
    expect(stage.said("resumed")).toHaveLength(2);
  });

  test("leaves the attempt alone for the path that carries it, when that falls silent", async () => {
    await fallen();
    await pass(3_900);
    stage.network.silent = true;
    stage.link.die();
    await pass(2_500);
    stage.network.heal();
    await pass(3_000);
    expect(stage.said("resumed").slice(1)).toMatchObject([{ transport: "websocket", continued: true, lostMs: 0 }]);
    expect(stage.paths().at(-1)).toBe("sound");
  });

  test("whose server stops waits for another server instead", async () => {
    await fallen();
    stage.server.remember();
    await pass(500);
    blocked = false;
    stage.server.say({ type: "response.created" });
    stage.server.stop(60_000);
    await pass(20_000);
    expect([tried, now().retriesWebTransport]).toEqual([[], false]);
  });

  test("is not looked at again where nobody could take it up", async () => {
    blocked = true;
    stage = await watched({ resumeMs: 0 }).begin();
    await pass(60_000);
    expect(now()).toMatchObject({ transport: "websocket", retriesWebTransport: false });
    expect(tried).toHaveLength(1);
  });

  test("began there, because WebTransport had lost before, and is tried for it all the same", async () => {
    blocked = false;
    stage = await watched({ webtransportLater: true }).begin();
    await pass(100);
    expect(stage.said("connected")).toMatchObject([{ transport: "websocket", lost: null }]);
    expect(tried).toEqual([]);
    await pass(6_000);
    expect(stage.said("resumed")).toMatchObject([{ transport: "webtransport", continued: true, lostMs: 0 }]);
  });

  test("that goes back too early is on the WebSocket again, and waits longer", async () => {
    await fallen();
    blocked = false;
    await pass(6_000);
    blocked = true;
    stage.link.die(0, 0);
    await pass(1_000);
    const since = Date.now();
    tried = [];
    blocked = false;
    await pass(20_000);
    expect(stage.said("resumed").map(({ transport }) => transport)).toEqual(["websocket", "webtransport", "websocket", "webtransport"]);
    expect(tried[0]! - since).toBeGreaterThan(6_500);
  });
});

describe("patience", () => {
  test("begins anew when WebTransport has lasted, and when the network is another one", () => {
    const way = new WayBack();
    way.carried("websocket", 0);
    for (const at of [4, 12, 28]) {
      expect([way.due(at * S - 1, true), way.due(at * S, true)]).toEqual([false, true]);
      way.tried(at * S);
    }
    way.carried("webtransport", 100 * S);
    expect(way.due(1_000 * S, true)).toBe(false);
    way.carried("websocket", 219 * S);
    expect(way.due(250 * S, true)).toBe(false);
    way.moved(220 * S);
    expect([way.due(223 * S, true), way.due(224 * S, true)]).toEqual([false, true]);
    way.tried(224 * S);
    way.carried("webtransport", 225 * S);
    way.carried("websocket", 345 * S);
    expect(way.due(349 * S, true)).toBe(true);
  });

  test("ends at ten minutes", () => {
    const way = new WayBack();
    let now = 0;
    way.carried("websocket", now);
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const before = now;
      while (!way.due(now, true)) now += S;
      expect(now - before).toBeLessThanOrEqual(600 * S);
      way.tried(now);
    }
  });
});
