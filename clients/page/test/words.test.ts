import { afterEach, describe, expect, test, vi } from "vitest";

import { compromises, resumption } from "../src/words.ts";

const CALL = { transport: "webtransport", webtransportLost: null, retriesWebTransport: false, inputCodec: "opus" } as const;

afterEach(() => vi.unstubAllGlobals());

describe("compromises", () => {
  test("of a call as it should be need no words", () => {
    expect(compromises(CALL, false)).toBe("");
    expect(compromises({ ...CALL, transport: "websocket" }, true)).toBe("");
    expect(compromises({ ...CALL, transport: null, inputCodec: "" }, false)).toBe("");
  });

  test("of a call without UDP are told, with the reason and the way back", () => {
    const without = { ...CALL, transport: "websocket", webtransportLost: "no answer within 3000 ms" } as const;
    expect(compromises(without, false)).toMatch(/^This browser has no WebTransport: /);
    vi.stubGlobal("WebTransport", class {});
    expect(compromises(without, false)).toMatch(/\(no answer within 3000 ms\).*WebSocket.*behind it\.$/);
    expect(compromises({ ...without, retriesWebTransport: true }, false)).toMatch(/back to WebTransport\.$/);
    const before = { ...without, webtransportLost: null };
    expect(compromises({ ...before, retriesWebTransport: true }, false)).toMatch(/^UDP did not get through here a while ago: /);
    expect(compromises(before, false)).toMatch(/^This browser's WebTransport is not to be relied on: /);
  });

  test("of a browser without an encoder are told", () => {
    expect(compromises({ ...CALL, inputCodec: "pcm16" }, false)).toMatch(/^This browser does not encode Opus/);
  });
});

describe("a call that goes on", () => {
  const how = { continued: true, transport: "webtransport", silentMs: 40, lostMs: 0 } as const;

  test.each([
    ["back on WebTransport", how, "websocket"],
    ["WebTransport: resumed", how, "webtransport"],
    ["WebTransport: resumed after 2.5 s", { ...how, silentMs: 2_500 }, "websocket"],
    ["WebSocket: resumed after 5.0 s", { ...how, transport: "websocket", silentMs: 5_000 }, "webtransport"],
    ["WebTransport: a new call after 61.0 s, 1.2 s lost", { ...how, continued: false, silentMs: 61_000, lostMs: 1_200 }, "webtransport"],
  ] as const)("%s", (words, resumed, before) => {
    expect(resumption(resumed, before)).toBe(words);
  });
});
