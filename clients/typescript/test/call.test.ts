// The life of a call in the network worker, in virtual time, against transports that the test plays.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Call } from "../src/network/call.ts";
import type { CallHost } from "../src/network/host.ts";
import type { CallMessage, CallSettings, PlayerCommand } from "../src/network/threads.ts";
import { downlinkRecord } from "../src/wire/records.ts";
import { CALL_SETTINGS, callHost, PCM, publishing } from "./calls.ts";
import { FakeAttempt, FakePlayer, FakePort, FakeServer } from "./fakes.ts";

const HASH = new Uint8Array(32).fill(7);

let posted: CallMessage[];
let webtransport: FakeAttempt;
let websocket: FakeAttempt;
let offered: (readonly Uint8Array[])[];
let host: CallHost;
let player: FakePlayer;
let call: Call;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000 });
  posted = [];
  offered = [];
  webtransport = new FakeAttempt("webtransport");
  websocket = new FakeAttempt("websocket");
  host = callHost(posted, {
    webtransport: (_, hashes) => (offered.push(hashes), webtransport),
    websocket: () => websocket,
  });
  player = new FakePlayer();
});

afterEach(() => {
  call.command({ kind: "close" });
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

const said = (kind: CallMessage["kind"]): CallMessage[] => posted.filter((message) => message.kind === kind);

const commands = (): PlayerCommand[] => player.sent.splice(0) as PlayerCommand[];

const frames = (count: number, value = 1): Int16Array => new Int16Array(count).fill(value);

async function begun(settings: Partial<CallSettings> = {}): Promise<void> {
  call = new Call({ ...CALL_SETTINGS, ...settings }, player as unknown as MessagePort, host);
  void call.start();
  call.command({ kind: "token", token: "secret" });
  await pass(0);
}

/** A call that its server has welcomed over WebTransport. */
async function live(settings: Partial<CallSettings> = {}): Promise<FakeServer> {
  await begun(settings);
  webtransport.succeed();
  await pass(0);
  const server = new FakeServer(webtransport.transport);
  server.welcome();
  return server;
}

describe("a call begins", () => {
  test("with a hello, and with what was captured and said before there was a connection", async () => {
    await begun();
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "event", event: { type: "session.update" } });
    webtransport.succeed();
    await pass(0);
    const server = new FakeServer(webtransport.transport);
    expect(server.heard()).toEqual([
      {
        ...{ type: "legato.hello", version: 1, input: PCM, output: [PCM], dialect: "realtime", profile: "auto" },
        ...{ lead_ms: 30_000, token: "secret", client: "test" },
        capabilities: { playback_reports: true, local_vad: false, resume: true, checkpoints: true },
      },
      { type: "session.update" },
    ]);
    expect(server.samples()).toBe(320);
    server.welcome();
    expect(said("connected")).toEqual([{ kind: "connected", transport: "webtransport", lost: null }]);
    expect(said("welcome")).toHaveLength(1);
  });

  test("when the token is there, however long that takes", async () => {
    call = new Call(CALL_SETTINGS, null, host);
    void call.start();
    webtransport.succeed();
    await pass(500);
    expect(webtransport.transport.streams).toEqual([]);
    call.command({ kind: "token", token: null });
    await pass(0);
    expect(new FakeServer(webtransport.transport).heard()).toMatchObject([{ token: null }]);
  });

  test("with plain samples where the browser has no codec", async () => {
    host = { ...host, encodesOpus: async () => false, decodesOpus: async () => false };
    const opus = { codec: "opus", rate: 16_000, channels: 1 } as const;
    await begun({ input: opus, output: [opus, PCM] });
    webtransport.succeed();
    await pass(0);
    expect(new FakeServer(webtransport.transport).heard()).toMatchObject([{ input: PCM, output: [PCM] }]);
  });

  test("with what was said by hand before the browser knew its codecs, in order", async () => {
    let answer!: (can: boolean) => void;
    host = { ...host, encodesOpus: () => new Promise((resolve) => (answer = resolve)) };
    await begun({ input: { codec: "opus", rate: 16_000, channels: 1 } });
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "commit" });
    answer(false);
    webtransport.succeed();
    await pass(0);
    expect(new FakeServer(webtransport.transport).heard()).toMatchObject([
      { type: "legato.hello" },
      { type: "input_audio_buffer.commit", legato_audio_offset: 320 },
    ]);
  });

  test("although the page said something that cannot be sent", async () => {
    await begun();
    call.command({ kind: "event", event: { type: "x", long: "x".repeat(1 << 20) } });
    webtransport.succeed();
    await pass(0);
    expect(said("failed")).toMatchObject([{ code: "misuse", fatal: false }]);
    expect(said("connected")).toHaveLength(1);
  });

  test("on a WebSocket, with everything once more, when WebTransport connects and then says nothing", async () => {
    await begun();
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "event", event: { type: "session.update" } });
    webtransport.succeed();
    await pass(3_000);
    expect(webtransport.transport.closedWith).toEqual([7, "no welcome in time"]);
    call.command({ kind: "audio", pcm: frames(320) });
    websocket.succeed();
    await pass(0);
    const server = new FakeServer(websocket.transport);
    expect(server.heard()).toMatchObject([{ type: "legato.hello" }, { type: "session.update" }]);
    expect(server.samples()).toBe(640);
    server.welcome();
    expect(said("connected").at(-1)).toEqual({ kind: "connected", transport: "websocket", lost: "no welcome in time" });
    expect(said("ended")).toEqual([]);
  });

  test("with the hashes that the server publishes", async () => {
    host = { ...host, fetch: publishing(HASH) };
    await begun({ discoveryUrl: "https://voice.example/.well-known/legato" });
    expect(offered).toEqual([[HASH]]);
  });

  test("without hashes when the server cannot be asked for them", async () => {
    await begun({ discoveryUrl: "https://voice.example/.well-known/legato" });
    expect(offered).toEqual([[]]);
  });
});

describe("a call that does not come about", () => {
  test("says why", async () => {
    await begun();
    webtransport.fail("no UDP");
    await pass(0);
    websocket.fail("no TCP");
    await pass(0);
    expect(said("failed")).toMatchObject([{ code: "unreachable", fatal: true }]);
    expect(said("failed")[0]).toHaveProperty("message", expect.stringContaining("no UDP; WebSocket: no TCP"));
    expect(said("ended")).toHaveLength(1);
  });

  test("says that a pinned certificate has changed, when the server publishes another", async () => {
    host = { ...host, fetch: publishing() };
    await begun({ certificateHashes: [HASH], discoveryUrl: "https://voice.example/.well-known/legato", websocketUrl: null });
    webtransport.fail("handshake failed");
    await pass(0);
    expect(said("failed")).toMatchObject([{ code: "certificate" }]);
  });

  test("says that a pinned certificate may have expired, when the server publishes no other", async () => {
    host = { ...host, fetch: publishing(HASH) };
    await begun({ certificateHashes: [HASH], discoveryUrl: "https://voice.example/.well-known/legato", websocketUrl: null });
    webtransport.fail("Opening handshake failed.");
    await pass(0);
    expect(said("failed")).toMatchObject([{ code: "unreachable", message: expect.stringContaining("or has expired") as string }]);
  });

  test("is refused with the server's words", async () => {
    await begun();
    webtransport.succeed();
    await pass(0);
    webtransport.transport.handler!.closed("peer", 5, "the key is not known here");
    expect(said("failed")).toMatchObject([{ code: "unauthorized", fatal: true }]);
    expect(said("ended")).toEqual([{ kind: "ended", by: "peer", code: 5, reason: "the key is not known here", unsentMs: 0 }]);
  });

  test("can be given up", async () => {
    await begun();
    call.command({ kind: "close" });
    expect(said("ended")).toEqual([{ kind: "ended", by: "local", code: 0, reason: "hung up", unsentMs: 0 }]);
    await pass(0);
    expect(webtransport.abandoned).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("can be given up while it is asked why", async () => {
    let answer!: (response: Response) => void;
    const asked: string[] = [];
    host = { ...host, fetch: (url) => (asked.push(url), new Promise((resolve) => (answer = resolve))) };
    const discoveryUrl = "https://voice.example/.well-known/legato";
    await begun({ certificateHashes: [HASH], discoveryUrl, websocketUrl: null });
    webtransport.fail("handshake failed");
    await pass(0);
    expect(asked).toEqual([discoveryUrl]);
    call.command({ kind: "close" });
    answer(new Response("{}"));
    await pass(0);
    expect([said("failed"), said("ended").length, posted.at(-1)!.kind]).toEqual([[], 1, "ended"]);
  });

  test("can be given up before it is known what the browser encodes", async () => {
    let answer!: (can: boolean) => void;
    host = { ...host, encodesOpus: () => new Promise((resolve) => (answer = resolve)) };
    const made = vi.fn();
    vi.stubGlobal("AudioEncoder", made);
    await begun({ input: { codec: "opus", rate: 16_000, channels: 1 } });
    call.command({ kind: "close" });
    answer(true);
    await pass(0);
    vi.unstubAllGlobals();
    expect(made).not.toHaveBeenCalled();
  });

  test("and whose transport comes a moment later closes that too", async () => {
    call = new Call(CALL_SETTINGS, null, host);
    void call.start();
    await pass(0);
    webtransport.succeed();
    await pass(0);
    call.command({ kind: "close" });
    await pass(0);
    expect(webtransport.transport.closedWith).toEqual([0, "hung up"]);
  });
});

describe("a reply", () => {
  test("goes to the player piece by piece, and its reports to the server", async () => {
    const server = await live();
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0, 2, 0)));
    expect(commands()).toEqual([
      { kind: "begin", generation: 1, itemId: "item_1", contentIndex: 0 },
      { kind: "audio", generation: 1, pcm: Int16Array.of(1, 2) },
    ]);
    server.more(1, downlinkRecord(4, Uint8Array.of(3, 0)), true);
    expect(commands()).toEqual([
      { kind: "audio", generation: 1, pcm: Int16Array.of(0, 0) },
      { kind: "audio", generation: 1, pcm: Int16Array.of(3) },
      { kind: "complete", generation: 1 },
    ]);
    server.heard();
    player.tell({ played: 5, underruns: 1, state: "done" });
    expect(server.heard()).toEqual([
      {
        ...{ type: "legato.playback", item_id: "item_1", content_index: 0, generation: 1 },
        ...{ played: 5, buffered: 0, underruns: 1, state: "done" },
      },
    ]);
    expect(said("playback")).toHaveLength(1);
    expect(said("replyStarted")).toEqual([{ kind: "replyStarted", generation: 1, itemId: "item_1", responseId: "resp_1" }]);
  });

  test("is silenced here before the server knows, and what comes late is not played", async () => {
    const server = await live();
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    commands();
    server.heard();
    call.command({ kind: "interrupt" });
    expect(commands()).toEqual([{ kind: "flush", first: 1, last: 1 }]);
    expect(server.heard()).toEqual([{ type: "response.cancel" }]);
    server.more(1, downlinkRecord(1, Uint8Array.of(2, 0)), false);
    server.say({ type: "legato.flush", generation: 1 });
    expect(commands()).toEqual([{ kind: "flush", first: 1, last: 1 }]);
    expect(said("interrupted")).toEqual([{ kind: "interrupted", first: 1, last: 1 }]);
  });

  test("that the server flushes is an interruption, and its stream is declined", async () => {
    const server = await live();
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    server.say({ type: "legato.flush", generation: 1 });
    expect(commands().at(-1)).toEqual({ kind: "flush", first: 1, last: 1 });
    expect(said("interrupted")).toHaveLength(1);
    expect(webtransport.transport.stopped).toEqual([[3, 3]]);
  });

  test("is told to whoever listens, and to nobody else", async () => {
    const server = await live();
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    expect(said("audio")).toEqual([]);
    call.command({ kind: "tap", wanted: true });
    server.more(1, downlinkRecord(1, Uint8Array.of(2, 0)), false);
    expect(said("audio")).toEqual([{ kind: "audio", generation: 1, itemId: "item_1", pcm: Int16Array.of(2) }]);
  });

  test("may run ahead of its playback, though not without an end", async () => {
    const server = await live();
    const gap = 16_000 * 30;
    const speak = (from: number, to: number): void => {
      for (let piece = from; piece < to; piece += 1) server.more(1, downlinkRecord(piece * gap, Uint8Array.of(1, 0)), false);
    };
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    speak(1, 30);
    player.tell({ played: 20 * gap, buffered: 9 * gap, state: "playing" });
    speak(30, 51);
    expect(webtransport.transport.closedWith).toBeNull();
    speak(51, 52);
    expect(webtransport.transport.closedWith).toEqual([6, "replies run too far ahead of what is played"]);
  });

  test("is held at the very sample", async () => {
    await live();
    call.command({ kind: "hold", held: true });
    expect(commands()).toEqual([{ kind: "hold", held: true }]);
  });

  test.each([
    ["in a format that was not offered", { codec: "pcm16", rate: 24_000 }, 0, 4],
    ["with a gap that no loss explains", PCM, 16_000 * 31, 2],
  ])("%s ends the call", async (_, format, offset, code) => {
    const server = await live();
    server.reply(1, downlinkRecord(offset, Uint8Array.of(1, 0)), format);
    expect(webtransport.transport.closedWith?.[0]).toBe(code);
    expect(said("ended")).toMatchObject([{ by: "local", code }]);
  });
});

describe("somebody who speaks into a reply", () => {
  const HEARD_AT = 1_790_000_000_000;
  const speak = (speaking: boolean): void => player.receive({ kind: "speech", speaking, at: HEARD_AT });

  async function sounding(): Promise<FakeServer> {
    const server = await live({ ducks: true });
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    player.tell({ played: 0, buffered: 1, state: "playing" });
    commands();
    server.heard();
    return server;
  }

  test("ducks it at once, and the server and the page are told", async () => {
    const server = await sounding();
    speak(true);
    expect(commands()).toEqual([{ kind: "hold", held: true }]);
    expect(server.heard()).toEqual([{ type: "legato.duck", generation: 1 }]);
    expect(said("ducked")).toEqual([{ kind: "ducked", at: HEARD_AT }]);
  });

  test("silences it when the server agrees", async () => {
    const server = await sounding();
    speak(true);
    server.say({ type: "legato.flush", generation: 1 });
    expect(commands().slice(1)).toEqual([
      { kind: "flush", first: 1, last: 1 },
      { kind: "hold", held: false },
    ]);
  });

  test("lets it go on when the server does not", async () => {
    const server = await sounding();
    speak(true);
    server.say({ type: "legato.unduck" });
    expect(commands().at(-1)).toEqual({ kind: "hold", held: false });
  });

  test("lets it go on when the server says nothing: soon after a noise, later after a speech", async () => {
    await sounding();
    speak(true);
    await pass(100);
    speak(false);
    await pass(300);
    expect(commands()).toHaveLength(1);
    await pass(200);
    expect(commands()).toEqual([{ kind: "hold", held: false }]);
    speak(true);
    await pass(1_900);
    expect(commands()).toHaveLength(1);
    await pass(200);
    expect(commands()).toEqual([{ kind: "hold", held: false }]);
  });

  test("is held until the server decides on this very reply", async () => {
    const server = await sounding();
    speak(true);
    server.say({ type: "legato.unduck", generation: 7 });
    server.say({ type: "legato.flush", generation: 2, first: 2 });
    expect(commands()).not.toContainEqual({ kind: "hold", held: false });
    server.say({ type: "legato.unduck", generation: 1 });
    expect(commands().at(-1)).toEqual({ kind: "hold", held: false });
  });

  test("and pauses between two words has not stopped", async () => {
    await sounding();
    speak(true);
    await pass(400);
    speak(false);
    await pass(200);
    speak(true);
    await pass(1_300);
    expect(commands()).toEqual([{ kind: "hold", held: true }]);
    await pass(200);
    expect(commands()).toEqual([{ kind: "hold", held: false }]);
  });

  test("does not end what the page holds by itself", async () => {
    const server = await sounding();
    call.command({ kind: "hold", held: true });
    speak(true);
    server.say({ type: "legato.unduck", generation: 1 });
    expect(commands()).not.toContainEqual({ kind: "hold", held: false });
    call.command({ kind: "hold", held: false });
    expect(commands()).toEqual([{ kind: "hold", held: false }]);
  });

  test.each([
    ["muted", async () => (await sounding(), call.command({ kind: "mute", muted: true }))],
    ["while nothing sounds", () => live({ ducks: true })],
  ])("%s: what the player held by itself goes on", async (_, begin) => {
    await begin();
    commands();
    speak(true);
    expect(commands()).toEqual([{ kind: "hold", held: false }]);
    expect(said("ducked")).toEqual([]);
  });
});

describe("captured audio", () => {
  test("of a muted microphone is a second of silence, then nothing", async () => {
    const server = await live();
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "mute", muted: true });
    for (let piece = 0; piece < 100; piece += 1) call.command({ kind: "audio", pcm: frames(320) });
    await pass(0);
    expect(server.samples()).toBe(320 + 16_000);
    expect(webtransport.transport.streams[1]!.fin).toBe(true);
    call.command({ kind: "mute", muted: false });
    call.command({ kind: "audio", pcm: frames(320) });
    expect(server.samples()).toBe(320 + 16_000 + 320);
  });

  test("that was said by hand is committed with its length", async () => {
    const server = await live();
    server.heard();
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "commit" });
    await pass(0);
    expect(server.heard()).toEqual([{ type: "input_audio_buffer.commit", legato_audio_offset: 320 }]);
    expect(webtransport.transport.streams[1]!.fin).toBe(true);
  });

  test("comes from the microphone's own thread too", async () => {
    const server = await live();
    const port = new FakePort();
    call.command({ kind: "capture", port: port as unknown as MessagePort });
    port.receive({ pcm: frames(320) });
    expect(server.samples()).toBe(320);
  });
});

describe("meanwhile", () => {
  test("the path is doubted when nothing comes back, and trusted again", async () => {
    await live();
    call.command({ kind: "audio", pcm: frames(320) });
    await pass(100);
    const { datagrams, handler } = webtransport.transport;
    expect(datagrams[0]).toEqual(Uint8Array.of(0, 0));
    await pass(1_700);
    expect(said("path")).toEqual([{ kind: "path", path: "doubted" }]);
    handler!.datagram(Uint8Array.of(1, ...datagrams.at(-1)!.subarray(1)));
    await pass(100);
    expect(said("path").at(-1)).toEqual({ kind: "path", path: "sound" });
  });

  test("the page is told how things stand", async () => {
    const server = await live();
    call.command({ kind: "audio", pcm: frames(320) });
    server.say({ type: "legato.audio_ack", offset: 320 });
    await pass(100);
    await pass(80);
    webtransport.transport.handler!.datagram(Uint8Array.of(1, 0));
    await pass(300);
    expect(said("statistics").at(-1)).toMatchObject({
      statistics: { transport: "webtransport", rttMs: 80, inputCodec: "pcm16", capturedMs: 20, ackedMs: 20, bufferedMs: 0 },
    });
  });

  test("an event that cannot be sent is a mistake of the page, not the end", async () => {
    const server = await live();
    server.heard();
    call.command({ kind: "event", event: { type: "x", long: "x".repeat(1 << 20) } });
    expect(said("failed")).toMatchObject([{ code: "misuse", fatal: false }]);
    call.command({ kind: "event", event: { type: "y" } });
    expect(server.heard()).toEqual([{ type: "y" }]);
  });

  test("the server's events are passed on, and that it will leave", async () => {
    const server = await live();
    server.say({ type: "response.created", response: { id: "r" } });
    server.say({ type: "legato.going_away", in_ms: 500 });
    expect(said("event")).toEqual([{ kind: "event", event: { type: "response.created", response: { id: "r" } } }]);
    expect(said("draining")).toEqual([{ kind: "draining", inMs: 500 }]);
  });
});

describe("a call ends", () => {
  test("with silence when the page hangs up", async () => {
    await live();
    call.command({ kind: "close" });
    expect(webtransport.transport.closedWith).toEqual([0, "hung up"]);
    expect(commands().at(-1)).toMatchObject({ kind: "flush", first: 1 });
    expect(said("ended")).toEqual([{ kind: "ended", by: "local", code: 0, reason: "hung up", unsentMs: 0 }]);
    call.command({ kind: "audio", pcm: frames(320) });
    call.command({ kind: "event", event: { type: "y" } });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("and plays what has arrived when the server does", async () => {
    const server = await live();
    server.reply(1, downlinkRecord(0, Uint8Array.of(1, 0)));
    commands();
    webtransport.transport.handler!.closed("peer", 0, "");
    expect(commands()).toEqual([]);
    expect(said("failed")).toEqual([]);
    expect(said("ended")).toEqual([{ kind: "ended", by: "peer", code: 0, reason: "", unsentMs: 0 }]);
  });

  test("when the connection is lost, and says so", async () => {
    await live();
    webtransport.transport.handler!.closed("transport", 0, "timed out");
    expect(said("failed")).toMatchObject([{ code: "lost", message: "The connection was lost. (timed out)" }]);
  });
});
