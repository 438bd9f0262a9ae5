// What a page may choose, what follows from it, and what it is told about a mistake.

import { describe, expect, test } from "vitest";

import { microphoneError } from "../src/audio/microphone-error.ts";
import { VoiceError } from "../src/errors.ts";
import { Listeners } from "../src/events.ts";
import { digest } from "../src/network/discovery.ts";
import { failureOf } from "../src/network/ending.ts";
import { RaceMemory } from "../src/race-memory.ts";
import { callSettings, startMs, type ConnectOptions } from "../src/settings.ts";

const ODDS = { lostLately: false, headStartMs: 300 };
const HEX = "0f".repeat(32);

const chosen = (url: string, options: ConnectOptions = {}, odds = ODDS, able = true) =>
  callSettings(url, options, odds, able, "https://page.example/talk");

describe("an address", () => {
  test.each([
    ["https://voice.example", "https://voice.example/legato/v1", "wss://voice.example/legato/v1"],
    ["https://voice.example:4433/", "https://voice.example:4433/legato/v1", "wss://voice.example:4433/legato/v1"],
    ["/", "https://page.example/legato/v1", "wss://page.example/legato/v1"],
    ["wss://voice.example/calls?tenant=a", "https://voice.example/calls?tenant=a", "wss://voice.example/calls?tenant=a"],
  ])("%s", (url, webtransportUrl, websocketUrl) => {
    expect(chosen(url)).toMatchObject({ webtransportUrl, websocketUrl });
  });

  test.each(["http://voice.example", "https://me@voice.example", "https://", "ftp://voice.example"])("%s is none", (url) => {
    expect(() => chosen(url)).toThrow(expect.objectContaining({ code: "bad-address" }));
  });

  test.each([
    ["https://localhost:4433", true],
    ["https://127.0.0.1", true],
    ["https://[::1]", true],
    ["https://192.168.1.5", true],
    ["https://172.20.0.1", true],
    ["https://studio.local", true],
    ["https://172.40.0.1", false],
    ["https://voice.example", false],
  ])("%s may have a development certificate: %s", (url, asked) => {
    expect(chosen(url).discoveryUrl !== null).toBe(asked);
  });
});

describe("transports", () => {
  test("are chosen by the page, or by what the browser can", () => {
    const of = (options: ConnectOptions, able: boolean): boolean[] => {
      const { webtransportUrl, websocketUrl } = chosen("https://voice.example", options, ODDS, able);
      return [webtransportUrl !== null, websocketUrl !== null];
    };
    expect(of({}, true)).toEqual([true, true]);
    expect(of({}, false)).toEqual([false, true]);
    expect(of({ transport: "websocket" }, true)).toEqual([false, true]);
    expect(of({ transport: "webtransport" }, false)).toEqual([true, false]);
  });

  test("begin with the WebSocket where WebTransport has lost lately, unless the page wants that", () => {
    const lost = { ...ODDS, lostLately: true };
    expect(chosen("/", {}, lost)).toMatchObject({ webtransportUrl: expect.any(String), webtransportLater: true });
    expect(chosen("/", { transport: "webtransport" }, lost).webtransportLater).toBe(false);
    expect(chosen("/").webtransportLater).toBe(false);
  });

  test("may have two addresses", () => {
    expect(chosen("https://a.example", { websocketUrl: "wss://b.example/v" }).websocketUrl).toBe("wss://b.example/v");
  });
});

describe("audio", () => {
  test("is Opus with PCM behind it, or PCM alone", () => {
    expect(chosen("/").input).toEqual({ codec: "opus", rate: 16_000, channels: 1 });
    expect(chosen("/").output.map(({ codec }) => codec)).toEqual(["opus", "pcm16"]);
    expect(chosen("/", { output: { codec: "pcm16", rate: 48_000 } }).output).toEqual([{ codec: "pcm16", rate: 48_000, channels: 1 }]);
  });

  test.each<ConnectOptions>([
    { input: { rate: 44_100 } },
    { output: { rate: 8_000 } },
    { input: { bitrate: 1 } },
    { leadMs: Number.NaN },
    { groupMs: 0 },
    { certificateHashes: ["not a hash"] },
  ])("and more is judged at once (%#)", (options) => {
    expect(() => chosen("/", options)).toThrow(expect.objectContaining({ code: "misuse" }));
  });

  test("starts behind a cushion", () => {
    expect([startMs({}), startMs({ startMs: 0 })]).toEqual([40, 0]);
    expect(() => startMs({ startMs: -1 })).toThrow(VoiceError);
  });
});

test.each([HEX, HEX.match(/../g)!.join(":"), "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8="])("a digest may be written as %s", (text) => {
  expect(digest(text)).toEqual(new Uint8Array(32).fill(15));
});

describe("what is remembered of a race", () => {
  const memory = (storage: Map<string, string> | null, now = () => 1_000_000): RaceMemory => {
    const kept = storage && { getItem: (key: string) => storage.get(key) ?? null, setItem: (key: string, value: string) => void storage.set(key, value) };
    return new RaceMemory(kept, now);
  };

  test("is the loser for a minute, over pages", () => {
    const storage = new Map<string, string>();
    memory(storage).note("a", "websocket", true);
    expect(memory(storage, () => 1_059_000).odds("a").lostLately).toBe(true);
    expect(memory(storage, () => 1_060_000).odds("a").lostLately).toBe(false);
    expect(memory(storage).odds("b").lostLately).toBe(false);
  });

  test("is the loser for twice as long with every defeat that follows, ten minutes at the most, until it wins", () => {
    let now = 1_000_000;
    const page = memory(null, () => now);
    const minutes = (): number => {
      page.note("a", "websocket", true);
      const from = now;
      while (page.odds("a").lostLately) now += 60_000;
      return (now - from) / 60_000;
    };
    expect([minutes(), minutes(), minutes(), minutes(), minutes(), minutes()]).toEqual([1, 2, 4, 8, 10, 10]);
    page.note("a", "websocket", false);
    page.note("a", "webtransport", false);
    expect(page.odds("a").lostLately).toBe(false);
    expect(minutes()).toBe(1);
  });

  test("gives a winner a longer head start, for a while", () => {
    const storage = new Map<string, string>();
    memory(storage).note("a", "webtransport", false);
    expect(memory(storage).odds("a")).toEqual({ lostLately: false, headStartMs: 500 });
    expect(memory(storage, () => 1_600_000).odds("a").headStartMs).toBe(300);
  });

  test("is nothing where it cannot be read", () => {
    expect(memory(new Map([["legato.race.a", "{nonsense"]])).odds("a")).toEqual({ lostLately: false, headStartMs: 300 });
  });
});

describe("a failure", () => {
  test.each([
    ["peer", 0, null],
    ["local", 0, null],
    ["transport", 0, "lost"],
    ["peer", 1, "lost"],
    ["local", 2, "protocol"],
    ["peer", 3, "version"],
    ["peer", 4, "format"],
    ["peer", 5, "unauthorized"],
    ["peer", 8, "overloaded"],
    ["peer", 9, "server"],
    ["peer", 11, "lost"],
    ["peer", 4711, "server"],
    ["local", 9, "unsupported-browser"],
  ] as const)("of %s with code %d is %s", (by, code, expected) => {
    expect(failureOf(by, code, "")?.code ?? null).toBe(expected);
  });

  test.each([
    ["NotAllowedError", "microphone-denied"],
    ["NotFoundError", "no-microphone"],
    ["OverconstrainedError", "no-microphone"],
    ["NotReadableError", "microphone-busy"],
    ["UnknownError", "no-microphone"],
  ])("of a microphone, %s, is %s", (name, code) => {
    expect(microphoneError(new DOMException("why", name))).toMatchObject({ code, message: expect.stringMatching(/./) });
  });
});

test("who listens hears, in order, until they stop; who throws keeps nobody from hearing", () => {
  const listeners = new Listeners<{ word: string }>();
  const heard: string[] = [];
  const reported: unknown[] = [];
  globalThis.reportError = (error) => reported.push(error);
  listeners.add("word", () => {
    throw new Error("mine");
  });
  const stop = listeners.add("word", (word) => heard.push(word));
  listeners.tell("word", "a");
  expect(listeners.any("word")).toBe(true);
  stop();
  listeners.tell("word", "b");
  expect(heard).toEqual(["a"]);
  expect(reported).toHaveLength(2);
});
