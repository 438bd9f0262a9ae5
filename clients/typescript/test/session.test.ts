// What a page is told of its call; the network thread is played by the test.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { VoiceError } from "../src/errors.ts";
import type { CallCommand, CallMessage } from "../src/network/threads.ts";
import { RaceMemory } from "../src/race-memory.ts";
import { VoiceSession } from "../src/session.ts";
import { CALL_SETTINGS } from "./calls.ts";
import { FakePage } from "./page.ts";

class FakeWorker extends EventTarget {
  static last: FakeWorker;
  onmessage: ((event: MessageEvent<CallMessage>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  readonly sent: CallCommand[] = [];
  terminated = false;

  constructor() {
    super();
    FakeWorker.last = this;
  }

  postMessage(command: CallCommand): void {
    this.sent.push(command);
  }

  terminate(): void {
    this.terminated = true;
  }

  post(message: CallMessage): void {
    this.onmessage!({ data: message } as MessageEvent<CallMessage>);
  }
}

const ENDED: CallMessage = { kind: "ended", by: "local", code: 0, reason: "hung up", unsentMs: 0 };

let page: FakePage;
let call: VoiceSession;
let worker: FakeWorker;
let states: string[];
let errors: VoiceError[];

function called(token: () => Promise<string> = async () => "secret"): void {
  const threads = { worker: "/worker.js", capture: "/capture.js", playback: "/playback.js" };
  call = new VoiceSession({ ...CALL_SETTINGS, plays: false }, { speaker: false, threads, token }, new RaceMemory(null));
  worker = FakeWorker.last;
  states = [];
  errors = [];
  call.on("state", ({ state }) => states.push(state));
  call.on("error", (error) => errors.push(error));
}

beforeEach(() => {
  vi.useFakeTimers();
  page = new FakePage();
  vi.stubGlobal("Worker", FakeWorker);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const path = (...paths: ("doubted" | "lost" | "sound")[]): void => {
  for (const one of paths) worker.post({ kind: "path", path: one });
};

describe("the state of a call", () => {
  beforeEach(() => {
    called();
    worker.post({ kind: "welcome", welcome: {} as never });
  });

  test("follows a path that is doubted, given up for lost, and well again", () => {
    path("doubted", "lost", "sound");
    expect(states).toEqual(["live", "uncertain", "reconnecting", "live"]);
  });

  test("is that its server leaves, behind an outage too, until another one has the call", () => {
    worker.post({ kind: "draining", inMs: 10_000 });
    path("doubted", "lost", "sound");
    const times = { silentMs: 0, lostMs: 0, transport: "webtransport", lost: null } as const;
    worker.post({ kind: "resumed", welcome: {} as never, continued: true, ...times });
    path("doubted", "sound");
    expect(states).toEqual(["live", "leaving", "reconnecting", "leaving", "live", "uncertain", "live"]);
  });
});

describe("a call that has ended", () => {
  test("lets its thread go, and is told nothing more", async () => {
    called();
    await vi.advanceTimersByTimeAsync(0);
    const ended = vi.fn();
    call.on("ended", ended);
    worker.post(ENDED);
    worker.post({ kind: "failed", code: "unreachable", message: "too late", fatal: true });
    worker.onerror!(Object.assign(new Event("error"), { message: "too late" }) as ErrorEvent);
    worker.post(ENDED);
    page.window.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(0);
    expect([errors, states, ended.mock.calls.length]).toEqual([[], ["ended"], 1]);
    expect([worker.terminated, worker.sent.map(({ kind }) => kind)]).toEqual([true, ["start", "token"]]);
    expect(await call.closed).toMatchObject({ reason: "hung up" });
    await expect(call.ready).rejects.toMatchObject({ code: "closed" });
    expect(() => call.send({ type: "x" })).toThrow("over");
    await call.close();
  });

  test("by its server plays what has arrived, until the page hangs up", async () => {
    called();
    worker.post({ kind: "statistics", statistics: { ...call.statistics(), bufferedMs: 20_000 } });
    worker.post({ ...ENDED, by: "peer" });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(worker.terminated).toBe(false);
    await call.close();
    expect(worker.terminated).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("because there is no token says that, once", async () => {
    called(() => Promise.reject(new Error("logged out")));
    await vi.advanceTimersByTimeAsync(0);
    expect(worker.sent.at(-1)).toEqual({ kind: "close" });
    worker.post(ENDED);
    expect(errors).toMatchObject([{ code: "unauthorized" }]);
    await expect(call.ready).rejects.toMatchObject({ message: "There is no token for this call: logged out" });
  });

  test("because its thread failed says so", async () => {
    called();
    worker.onerror!(Object.assign(new Event("error"), { message: "out of memory" }) as ErrorEvent);
    expect([errors.map(({ code }) => code), call.state]).toEqual([["protocol"], "ended"]);
  });
});
