// Messages of a WebSocket, byte for byte, and which of them a client takes.

import { describe, expect, test } from "vitest";

import { RemoteProtocolError } from "../src/errors.ts";
import { decode, encode } from "../src/wire/mux.ts";
import { overSocket, Recorder } from "./fakes.ts";
import { bytes, cases, hex, sequences } from "./vectors.ts";

describe("one message", () => {
  test.each(cases("websocket.json"))("$name", (one) => {
    if ("code" in one) {
      expect(() => decode(bytes(one.hex))).toThrow(RemoteProtocolError);
      return;
    }
    const message = decode(bytes(one.hex));
    const said = message && "bytes" in message ? { ...message, bytes: hex(message.bytes) } : message;
    expect(said).toEqual(one.message);
    if (message && one.canonical !== false) expect(hex(encode(message))).toBe(one.hex);
  });
});

describe("what a client makes of a sequence", () => {
  test.each(sequences("websocket.json").filter((one) => one.role === "client"))("$name", async (one) => {
    const { socket, transport } = await overSocket();
    const seen = new Recorder();
    transport.bind(seen);
    for (const stream of one.opened ?? [0]) expect(transport.openStream(stream === 0)).toBe(stream);
    for (const stream of one.finished ?? []) transport.send(stream, new Uint8Array(0), true);
    socket.sent.length = 0;
    one.messages.forEach((message: string, index: number) => {
      socket.receive(bytes(message));
      for (const { after, stream, code } of one.stops ?? []) if (after === index + 1) transport.stop(stream, code);
    });
    const { code } = one;
    const events = one.events.filter((event: object) => !("drain" in event));
    if (code === undefined) {
      expect(seen.told).toEqual(events);
      return;
    }
    expect(seen.told.slice(0, -1)).toEqual(events);
    expect(seen.told.at(-1)).toMatchObject({ closed: code, by: "local" });
    expect(socket.closedWith).toBe(1000);
    expect(decode(socket.sent.at(-1)!)).toMatchObject({ type: "close", code });
  });
});

test("a server that never gives up what was declined is sent away", async () => {
  const { socket, transport } = await overSocket();
  const seen = new Recorder();
  transport.bind(seen);
  for (let stream = 3; !socket.closedWith && stream < 100_000; stream += 4) {
    socket.receive(encode({ type: "data", stream, fin: false, bytes: Uint8Array.of(5) }));
    transport.stop(stream, 2);
  }
  expect(seen.told.at(-1)).toMatchObject({ closed: 6, by: "local" });
});
