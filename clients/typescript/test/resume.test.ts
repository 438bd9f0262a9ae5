// A call outlives its connections, in virtual time: what dies when, and who notices first, is drawn by seed.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { Link, Said } from "./lossy-network.ts";
import { CALL_SETTINGS, publishing } from "./calls.ts";
import { pass, sampleAt, samples, Stage } from "./stage.ts";

let stage: Stage;

beforeEach(() => void vi.useFakeTimers({ now: 1_000 }));

afterEach(() => {
  stage.end();
  vi.useRealTimers();
});

describe("a path that falls silent", () => {
  test("is doubted after a second and a half, and trusted again without another connection", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    stage.network.silent = stage.network.refusing = true;
    await pass(3_000);
    expect(stage.paths()).toEqual(["doubted"]);
    stage.network.silent = false;
    stage.link.flow();
    await pass(1_000);
    expect(stage.paths()).toEqual(["doubted", "sound"]);
    const { attempts } = stage.network;
    await pass(5_000);
    expect([stage.server.hellos, stage.said("resumed"), stage.network.attempts]).toEqual([1, [], attempts]);
    expect(stage.server.faults).toEqual([]);
    expect(stage.server.heard.length).toBeGreaterThan(stage.captured - 3_200);
  });

  test("that stays so is left for another one before the browser has noticed, and nothing is lost", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    const close = vi.spyOn(stage.link, "close");
    stage.link.die();
    await pass(3_000);
    expect(close).toHaveBeenCalledExactlyOnceWith(11, "another connection continues the call");
    expect(stage.paths()).toEqual(["doubted", "sound"]);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0, transport: "webtransport" }]);
    expect(stage.said("resumed")[0]!.silentMs).toBeLessThan(2_500);
    await pass(10_000);
    expect(stage.said("failed")).toEqual([]);
    expect(stage.server.heard.length).toBeGreaterThan(stage.captured - 3_200);
    expect(stage.said("statistics").at(-1)!.statistics).toMatchObject({ resumes: 1, lostMs: 0 });
  });

  test("is left although the server is heard again, as long as nothing gets through to it", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    const { network, server, link } = stage;
    network.silent = network.refusing = link.waits = true;
    await pass(2_000);
    expect(stage.paths()).toEqual(["doubted"]);
    network.heal();
    for (let word = 0; word < 10; word += 1) {
      server.say({ type: "y" });
      await pass(100);
    }
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0 }]);
    await pass(1_000);
    expect(stage.said("event")).toHaveLength(10);
    expect(server.faults).toEqual([]);
    expect(server.heard.length).toBeGreaterThan(stage.captured - 3_200);
  });

  test("is told as lost after six seconds, however long the browser keeps the connection", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    stage.network.refusing = true;
    stage.link.die(30_000);
    await pass(2_500);
    expect(stage.network.attempts).toBeGreaterThan(1);
    await pass(3_000);
    expect(stage.paths()).toEqual(["doubted"]);
    await pass(1_000);
    expect(stage.paths()).toEqual(["doubted", "lost"]);
    stage.network.refusing = false;
    await pass(5_000);
    expect(stage.paths()).toEqual(["doubted", "lost", "sound"]);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0 }]);
  });

  test("is not told as lost where no other connection is looked for", async () => {
    stage = await new Stage({ resumeMs: 0 }).begin();
    await pass(1_000);
    stage.link.die(20_000);
    await pass(15_000);
    expect([stage.paths(), stage.network.attempts]).toEqual([["doubted"], 1]);
  });

  test("and was told as lost may recover all the same", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    stage.network.silent = stage.network.refusing = true;
    await pass(8_000);
    stage.network.silent = false;
    stage.link.flow();
    await pass(1_000);
    expect([stage.paths(), stage.said("resumed")]).toEqual([["doubted", "lost", "sound"], []]);
  });

  test("is looked at sooner when the browser says that the network has changed", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    stage.link.die();
    stage.call.command({ kind: "doubt", moved: true });
    await pass(900);
    expect(stage.said("resumed")).toHaveLength(1);
    expect(stage.said("statistics").at(-1)!.statistics.pathChanges).toBe(1);
  });

  test("and works is left alone, whatever the browser says", async () => {
    stage = await new Stage().begin();
    await pass(1_000);
    const attempts = stage.network.attempts;
    for (let time = 0; time < 5; time += 1) {
      stage.call.command({ kind: "doubt", moved: true });
      await pass(700);
    }
    expect(stage.network.attempts).toBe(attempts);
    expect(stage.paths()).toEqual([]);
  });
});

describe("a connection that ends", () => {
  test("is replaced at once; what is said and heard meanwhile is not lost", async () => {
    stage = await new Stage().begin();
    const reply = (stage.server.begin(), stage.server.replies[0]!);
    stage.server.speak(reply, samples(0, 800), false);
    await pass(500);
    stage.link.die(0, 0);
    stage.call.command({ kind: "event", event: { type: "x", number: 1 } });
    stage.server.say({ type: "y" });
    stage.server.speak(reply, samples(800, 800), true);
    await pass(500);
    expect(stage.paths()).toEqual(["lost", "sound"]);
    expect(stage.played().get(1)).toMatchObject({ samples: samples(0, 1_600), complete: true });
    expect(stage.server.events.at(-1)).toEqual({ type: "x", number: 1 });
    expect(stage.said("event").at(-1)).toEqual({ kind: "event", event: { type: "y" } });
  });

  test("is replaced by a WebSocket where UDP goes nowhere", async () => {
    stage = await new Stage().begin();
    const before = stage.network.attempt.bind(stage.network);
    stage.network.attempt = (name) => (name === "websocket" ? before(name) : { ready: new Promise(() => {}), abandon() {} });
    stage.link.die(0, 0);
    await pass(1_000);
    expect(stage.said("resumed")).toMatchObject([{ transport: "websocket", lost: "the WebSocket was ready first" }]);
  });

  test("and cannot be replaced ends the call when the server's window has passed, and says what it cost", async () => {
    stage = new Stage();
    stage.server.windowMs = 10_000;
    await stage.begin();
    await pass(1_000);
    stage.network.refusing = true;
    stage.link.die(0, 0);
    await pass(9_500);
    expect(stage.said("ended")).toEqual([]);
    stage.quiet();
    await pass(1_000);
    const [ending] = stage.said("ended");
    expect(ending).toMatchObject({ by: "transport" });
    expect(ending!.unsentMs).toBeGreaterThan(9_000);
    expect(stage.said("failed")).toMatchObject([{ code: "lost", fatal: true }]);
    expect(stage.said("failed")[0]!.message).toMatch(/did not come back within 10 s\. The last 9\.\d s of what was said/);
    await pass(20_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("ends the call where neither side wants it otherwise", async () => {
    stage = await new Stage({ resumeMs: 0 }).begin();
    stage.link.die(0, 0);
    await pass(100);
    expect(stage.said("ended")).toMatchObject([{ by: "transport" }]);
    expect(stage.network.attempts).toBe(1);
  });

  test("because the page hung up is not replaced", async () => {
    stage = await new Stage().begin();
    stage.link.die(0, 0);
    stage.end();
    await pass(30_000);
    expect(stage.said("ended")).toMatchObject([{ by: "local", reason: "hung up" }]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a server that", () => {
  test("waited for the hello in vain, because the page had no token yet, is called once more", async () => {
    stage = new Stage();
    const greet = stage.server.hear.bind(stage.server);
    let refusals = 0;
    stage.server.hear = (visit, event: Said) => (refusals++ ? greet(visit, event) : visit.close(7));
    await stage.begin();
    await pass(1_000);
    expect(stage.said("connected").map(({ transport }) => transport)).toEqual(["webtransport", "webtransport"]);
    expect([stage.said("welcome").length, stage.said("failed")]).toEqual([1, []]);
    stage.quiet();
    await pass(500);
    expect(stage.server.heard).toHaveLength(stage.captured);
  });

  test("never waits for a hello is not called for ever", async () => {
    stage = new Stage();
    stage.server.hear = (visit) => visit.close(7);
    await stage.begin();
    await pass(3_000);
    expect([stage.network.attempts, stage.said("ended").length]).toEqual([2, 1]);
  });

  test("has ended the call meanwhile says how", async () => {
    stage = await new Stage().begin();
    stage.server.ended = 10;
    stage.link.die(0, 0);
    await pass(1_000);
    expect(stage.said("ended")).toMatchObject([{ by: "peer", code: 10 }]);
  });

  test("knows the call no more begins another one, and the page learns what was lost", async () => {
    stage = await new Stage().begin();
    const reply = (stage.server.begin(), stage.server.replies[0]!);
    stage.server.speak(reply, samples(0, 800), false);
    await pass(1_000);
    const greet = stage.server.hear.bind(stage.server);
    stage.server.hear = (visit, event: Said) => {
      if (event.type !== "legato.hello" || !event["resume"]) return greet(visit, event);
      const { resume, ...rest } = event;
      visit.say({
        ...{ type: "legato.welcome", session_id: "call_2", input: rest["input"], output: rest["output"][0], profile: "turn" },
        ...{ lead_ms: 10_000, server_time_us: 0, limits: {}, resumed: false, uplink_offset: resume["uplink_offset"] },
      });
    };
    stage.link.die(0, 0);
    await pass(1_000);
    expect(stage.said("resumed")).toMatchObject([{ continued: false, lostMs: 0, welcome: { session_id: "call_2" } }]);
    expect(stage.said("interrupted")).toEqual([{ kind: "interrupted", first: 1, last: 1 }]);
    expect(stage.player.sent.at(-1)).toEqual({ kind: "restart" });
    stage.player.tell({ played: 5, state: "stopped" });
    expect(stage.said("playback")).toEqual([]);
  });

  test("hears late of a connection that was given up, and takes the call up there, is called again", async () => {
    stage = await new Stage({ websocketUrl: null }).begin();
    await pass(1_000);
    const made: Link[] = [];
    const attempt = stage.network.attempt.bind(stage.network);
    stage.network.attempt = (name) => {
      const begun = attempt(name);
      begun.ready.then((link) => ((link as Link).stalled = made.push(link as Link) === 1), () => {});
      return begun;
    };
    stage.link.die(0, 0);
    for (let waited = 0; !stage.said("resumed").length && waited < 5_000; waited += 5) await pass(5);
    made[0]!.stalled = false;
    made[0]!.flow();
    await pass(3_000);
    expect([stage.said("ended"), stage.said("resumed").length, made.length]).toEqual([[], 2, 3]);
    stage.quiet();
    await pass(500);
    expect(stage.server.heard).toHaveLength(stage.captured);
    expect(stage.server.faults).toEqual([]);
  });

  test("gave the call to another client is believed", async () => {
    stage = await new Stage().begin();
    stage.link.handler!.closed("peer", 11, "another connection continues the call");
    await pass(1_000);
    expect(stage.said("ended")).toMatchObject([{ by: "peer", code: 11 }]);
    expect(stage.network.attempts).toBe(1);
  });
});

describe("a server that takes the caller no more", () => {
  /** Its hellos that would resume are refused, as with a token that has expired; returns how it takes them again. */
  function refuses(code = 5): () => void {
    const greet = stage.server.hear.bind(stage.server);
    stage.server.hear = (visit, event: Said) =>
      event.type === "legato.hello" && event["resume"] ? visit.close(code) : greet(visit, event);
    return () => (stage.server.hear = greet);
  }

  test.each([
    ["because the hello came too late", 7],
    ["for a reason that is not known here", 77],
  ])("for now, %s, is asked again", async (_, code) => {
    stage = await new Stage().begin();
    const takes = refuses(code);
    stage.link.die(0, 0);
    await pass(2_000);
    expect([stage.said("ended"), stage.paths()]).toEqual([[], ["lost"]]);
    takes();
    await pass(4_000);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0 }]);
  });

  test("does not end a call whose path recovers, and is not asked again", async () => {
    stage = await new Stage().begin();
    refuses();
    const { link } = stage;
    link.stalled = true;
    await pass(3_000);
    expect(stage.paths()).toEqual(["doubted"]);
    const { attempts } = stage.network;
    link.stalled = false;
    link.flow();
    await pass(3_000);
    expect([stage.paths(), stage.said("ended"), stage.network.attempts]).toEqual([["doubted", "sound"], [], attempts]);
  });

  test("ends one that has no other connection, with its own words", async () => {
    stage = await new Stage().begin();
    refuses();
    stage.link.die(2_500, 0);
    await pass(4_000);
    expect(stage.said("failed")).toMatchObject([{ code: "unauthorized" }]);
    expect(stage.said("ended")).toMatchObject([{ by: "peer", code: 5 }]);
  });
});

describe("another server", () => {
  test("goes on with a call from its latest checkpoint: nothing is lost, and what was being said ends where it is", async () => {
    stage = await new Stage().begin();
    const { server } = stage;
    const reply = (server.begin(), server.replies[0]!);
    server.speak(reply, samples(0, 800), false);
    stage.call.command({ kind: "event", event: { type: "x", number: 1 } });
    await pass(1_000);
    server.remember();
    await pass(1_000);
    stage.call.command({ kind: "event", event: { type: "x", number: 2 } });
    server.say({ type: "y" });
    await pass(500);
    server.crash();
    stage.link.die(0, 0);
    server.speak(reply, samples(800, 800), true);
    await pass(2_000);
    stage.quiet();
    await pass(500);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0, welcome: { rebuilt: true } }]);
    expect(server.faults).toEqual([]);
    expect(server.heard).toHaveLength(stage.captured);
    expect(server.heard.findIndex((sample, at) => sample !== sampleAt(at))).toBe(-1);
    expect(server.events).toEqual([{ type: "x", number: 1 }, { type: "x", number: 2 }]);
    expect(stage.said("event")).toEqual([{ kind: "event", event: { type: "y" } }]);
    expect(stage.played().get(1)).toMatchObject({ samples: samples(0, 800), complete: true });
  });

  test.each([
    ["is found by the hash of its certificate, because that of the first one has expired", [], true],
    ["is not taken for one that the page has named by its hash", [new Uint8Array(32).fill(1)], false],
  ])("%s", async (_, certificateHashes, found) => {
    let shown = 1;
    const refused = { ready: Promise.reject(new Error("Opening handshake failed.")), abandon() {} };
    refused.ready.catch(() => {});
    const settings = { discoveryUrl: "https://voice.example/.well-known/legato", websocketUrl: null, certificateHashes };
    stage = new Stage(settings, {
      webtransport: (_url, [hash]) => (hash?.[0] === shown ? stage.network.attempt("webtransport") : refused),
      fetch: (...asked) => publishing(new Uint8Array(32).fill(shown))(...asked),
    });
    await stage.begin();
    await pass(1_000);
    shown = 2;
    stage.link.die(0, 0);
    await pass(2_000);
    expect(stage.said("resumed")).toHaveLength(found ? 1 : 0);
  });

  test("is gone to at a pause, when this one says that it stops", async () => {
    stage = await new Stage().begin();
    const { server } = stage;
    server.say({ type: "response.created" });
    server.remember();
    await pass(500);
    server.stop(10_000);
    await pass(2_000);
    expect(stage.said("draining")).toEqual([{ kind: "draining", inMs: 10_000 }]);
    expect(server.hellos).toBe(1);
    server.say({ type: "response.done" });
    await pass(1_000);
    expect([server.hellos, stage.said("resumed").length]).toEqual([2, 1]);
    await pass(20_000);
    expect([stage.said("ended"), server.faults, server.hellos]).toEqual([[], [], 2]);
  });

  test("is waited for when this one has stopped in the middle of something", async () => {
    stage = await new Stage().begin();
    const { server, network } = stage;
    server.say({ type: "input_audio_buffer.speech_started" });
    server.remember();
    await pass(500);
    server.stop(3_000);
    network.refusing = true;
    await pass(2_500);
    expect(network.attempts).toBeGreaterThan(1);
    await pass(2_500);
    expect(stage.paths()).toEqual(["lost"]);
    network.refusing = false;
    await pass(1_000);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0 }]);
    expect(stage.said("resumed")).toMatchObject([{ continued: true, lostMs: 0 }]);
  });

  test("is not looked for by a call that no other could know", async () => {
    stage = await new Stage().begin();
    stage.server.stop(1_000);
    await pass(2_000);
    expect(stage.said("ended")).toMatchObject([{ by: "peer", code: 1 }]);
    expect(stage.network.attempts).toBe(1);
  });
});

/** Numbers between 0 and 1 that are the same for the same seed. */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SEEDS = Array.from({ length: 16 }, (_, seed) => seed + 1);

describe("whatever dies in whatever order", () => {
  test.each(SEEDS)("every sample and every event arrives once and in order (seed %i)", async (seed) => {
    const draw = draws(seed);
    const some = (most: number): number => Math.floor(draw() * most);
    stage = await new Stage({ websocketUrl: seed % 3 ? CALL_SETTINGS.websocketUrl : null }).begin();
    const { network, server, call } = stage;
    let [told, numbers] = [0, 0];
    const deeds: (() => void)[] = [
      () => call.command({ kind: "event", event: { type: "x", number: (numbers += 1) } }),
      () => server.say({ type: "y", number: (told += 1) }),
      () => server.begin(),
      () => server.remember(),
      () => {
        const open = server.replies.filter(({ complete }) => !complete);
        const reply = open[some(open.length)];
        if (reply) server.speak(reply, samples(reply.samples.length, 1 + some(2_000)), draw() < 0.2);
      },
      () => draw() < 0.2 && server.flush(),
      () => call.command({ kind: "doubt", moved: draw() < 0.5 }),
      () => {
        const links = [...network.links];
        if (links.length) links[some(links.length)]!.die(some(2) * some(7_000), some(2) * some(40_000));
      },
      () => (network.silent = true),
      () => (network.refusing = draw() < 0.5),
      () => network.heal(),
      () => network.heal(),
    ];
    for (let step = 0; step < 40; step += 1) {
      deeds[some(deeds.length)]!();
      await pass(some(900));
    }
    network.heal();
    stage.quiet();
    // Longer than any pause between attempts, and the longest attempt.
    await pass(13_000);
    expect(stage.said("failed")).toEqual([]);
    expect(server.faults).toEqual([]);
    expect(server.heard).toHaveLength(stage.captured);
    expect(server.heard.findIndex((sample, at) => sample !== sampleAt(at))).toBe(-1);
    expect(server.gaps).toEqual([]);
    expect(server.events).toEqual(Array.from({ length: numbers }, (_, at) => ({ type: "x", number: at + 1 })));
    expect(stage.said("event").map(({ event }) => event["number"])).toEqual(Array.from({ length: told }, (_, at) => at + 1));
    const played = stage.played();
    server.replies.forEach((reply, index) => {
      const got = played.get(index + 1);
      if (!reply.flushed) expect(got).toEqual({ samples: reply.samples, complete: reply.complete, flushed: false });
      else if (got) expect(got).toMatchObject({ samples: reply.samples.slice(0, got.samples.length), flushed: true });
    });
    expect(stage.paths().at(-1) ?? "sound").toBe("sound");
  });
});
