// A call in the shape of a WebSocket: what a program sends and sees, against a call that the test plays.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { fromBase64, toBase64 } from "../src/adapters/base64.ts";
import { asWebSocket, type RealtimeSocket } from "../src/adapters/websocket.ts";
import { Listeners, type VoiceEvents } from "../src/events.ts";
import type { VoiceSession } from "../src/session.ts";

/** The side of a call that the adapter uses. */
class FakeCall {
  readonly done: unknown[] = [];
  readonly listeners = new Listeners<VoiceEvents>();
  inputRate = 24_000;
  settle!: { open: (welcome?: unknown) => void; fail: (error: Error) => void };
  readonly ready = new Promise((open, fail) => (this.settle = { open, fail }));
  readonly on = this.listeners.add.bind(this.listeners);

  statistics = (): object => ({ bytesUnsent: 7 });
  sendAudio = (pcm: Int16Array): void => void this.done.push([...pcm]);
  send = (event: object): void => void this.done.push(event);
  commit = (): void => void this.done.push("commit");
  interrupt = (): void => void this.done.push("interrupt");
  close = async (): Promise<void> => void this.done.push("close");

  reply(generation: number): void {
    this.listeners.tell("reply", { generation, itemId: `item_${generation}`, responseId: `resp_${generation}` });
  }

  audio(generation: number, ...pcm: number[]): void {
    this.listeners.tell("audio", { generation, itemId: `item_${generation}`, pcm: Int16Array.from(pcm), rate: 24_000 });
  }

  plays(generation: number, heardMs: number, state: "playing" | "stopped" | "done" = "playing"): void {
    const rest = { bufferedMs: 0, underruns: 0, state };
    this.listeners.tell("playback", { itemId: `item_${generation}`, generation, heardMs, ...rest });
  }
}

let call: FakeCall;
let socket: RealtimeSocket;
let seen: unknown[];

beforeEach(async () => {
  vi.useFakeTimers();
  call = new FakeCall();
  socket = asWebSocket(call as unknown as VoiceSession, "https://voice.example");
  seen = [];
  socket.addEventListener("open", () => seen.push("open"));
  socket.addEventListener("message", (event) => seen.push(JSON.parse((event as MessageEvent<string>).data)));
  socket.addEventListener("close", (event) => seen.push({ code: (event as CloseEvent).code, reason: (event as CloseEvent).reason }));
  socket.addEventListener("error", () => seen.push("error"));
});

afterEach(() => void vi.useRealTimers());

const say = (event: object): void => socket.send(JSON.stringify(event));

async function open(): Promise<void> {
  call.settle.open();
  await vi.advanceTimersByTimeAsync(0);
  seen.length = 0;
}

const truncate = (generation: number, audio_end_ms: number): object => ({
  ...{ type: "conversation.item.truncate", item_id: `item_${generation}`, content_index: 0, audio_end_ms },
});

describe("a socket", () => {
  test("opens with the welcome, and tells what came before behind that", async () => {
    call.settle.open();
    call.listeners.tell("event", { type: "session.created" });
    expect([socket.readyState, seen]).toEqual([0, []]);
    await vi.advanceTimersByTimeAsync(0);
    expect([socket.readyState, seen]).toEqual([1, ["open", { type: "session.created" }]]);
    expect([socket.url, socket.bufferedAmount]).toEqual(["https://voice.example", 7]);
  });

  test("has the handlers of a WebSocket, too", async () => {
    socket.onmessage = ({ data }) => seen.push(data);
    await open();
    call.listeners.tell("event", { type: "x" });
    expect(seen).toEqual(['{"type":"x"}', { type: "x" }]);
  });

  test("fails when the call does not come about", async () => {
    call.settle.fail(new Error("nobody there"));
    await vi.advanceTimersByTimeAsync(0);
    call.listeners.tell("ended", { by: "transport", code: 0, reason: "gone", unsentMs: 0 });
    expect(seen).toEqual(["error", { code: 1006, reason: "gone" }]);
    expect(socket.readyState).toBe(3);
  });

  test.each([
    ["peer", 0, 1000],
    ["peer", 5, 4005],
    ["transport", 0, 1006],
  ] as const)("closes as the call ends (by the %s, code %i)", async (by, code, status) => {
    await open();
    call.listeners.tell("ended", { by, code, reason: "", unsentMs: 0 });
    expect(seen).toEqual([{ code: status, reason: "" }]);
    say({ type: "x" });
    expect(call.done).toEqual([]);
  });

  test("hangs up once", async () => {
    await open();
    socket.close();
    socket.close();
    expect([call.done, socket.readyState]).toEqual([["close"], 2]);
  });
});

describe("what a program sends", () => {
  test("as audio in events goes out as samples; the rest goes as it is", async () => {
    await open();
    say({ type: "input_audio_buffer.append", audio: toBase64(Int16Array.of(1, -2, 32_767)) });
    say({ type: "input_audio_buffer.commit" });
    say({ type: "session.update", session: {} });
    expect(call.done).toEqual([[1, -2, 32_767], "commit", { type: "session.update", session: {} }]);
  });

  test.each([
    ["no JSON", "{"],
    ["no event", "[]"],
    ["audio that is none", '{"type":"input_audio_buffer.append","audio":"!"}'],
    ["half a sample", '{"type":"input_audio_buffer.append","audio":"AA=="}'],
  ])("is refused if it is %s", (_, text) => {
    expect(() => socket.send(text)).toThrow(expect.objectContaining({ code: "misuse" }));
  });

  test("as audio needs a call at the rate of events", () => {
    call.inputRate = 16_000;
    const append = { type: "input_audio_buffer.append", audio: "AAA=" };
    expect(() => say(append)).toThrow("connect with { input: { rate: 24000 } }");
  });
});

describe("a reply", () => {
  beforeEach(open);

  test("is audio in events", () => {
    call.reply(1);
    call.audio(1, 5, 6);
    expect(seen).toEqual([
      {
        ...{ type: "response.output_audio.delta", event_id: "event_audio_1", response_id: "resp_1", item_id: "item_1" },
        ...{ output_index: 0, content_index: 0, delta: toBase64(Int16Array.of(5, 6)) },
      },
    ]);
  });

  test("that is cancelled is silent at once, and told no further", () => {
    call.reply(1);
    say({ type: "response.cancel" });
    call.audio(1, 5);
    expect([call.done, seen]).toEqual([["interrupt"], []]);
  });

  test("is cut where it was heard, not where the program's clock is", () => {
    call.reply(1);
    call.plays(1, 300);
    say(truncate(1, 900));
    expect(call.done).toEqual(["interrupt"]);
    call.plays(1, 320.7, "stopped");
    expect(call.done.slice(1)).toEqual([truncate(1, 320)]);
  });

  test("that was played, or was silenced by the server, is cut at once", () => {
    call.reply(1);
    call.plays(1, 500, "done");
    say(truncate(1, 100));
    call.plays(2, 200, "stopped");
    say(truncate(2, 900));
    expect(call.done).toEqual([truncate(1, 500), truncate(2, 200)]);
  });

  test("that the call does not play is cut where the program says", () => {
    say(truncate(1, 900));
    expect(call.done).toEqual([truncate(1, 900)]);
  });

  test("is cut once for those who know no position", () => {
    call.reply(1);
    call.plays(1, 100);
    socket.truncateSounding();
    call.plays(1, 120, "stopped");
    socket.truncateSounding();
    const { audio_end_ms, ...cut } = truncate(1, 120) as { audio_end_ms: number };
    expect(call.done).toEqual(["interrupt", { ...cut, audio_end_ms }]);
  });

  test("of another call begins with its own numbers", () => {
    call.reply(3);
    say({ type: "response.cancel" });
    call.listeners.tell("resumed", { continued: false, transport: "webtransport", silentMs: 0, lostMs: 0 });
    call.reply(1);
    call.audio(1, 5);
    expect(seen).toHaveLength(1);
  });
});

test("samples survive the way through text", () => {
  const pcm = Int16Array.from({ length: 20_000 }, (_, at) => at * 7_919);
  expect(fromBase64(toBase64(pcm))).toEqual(pcm);
});
