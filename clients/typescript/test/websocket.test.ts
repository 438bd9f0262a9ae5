// What a socket does that vectors cannot say: opening, large data, backlog, the end.

import { beforeEach, describe, expect, test } from "vitest";

import { WebSocketTransport } from "../src/transports/websocket.ts";
import { decode, encode } from "../src/wire/mux.ts";
import { FakeSocket, overSocket, Recorder } from "./fakes.ts";

let socket: FakeSocket;
let seen: Recorder;
let transport: WebSocketTransport;

beforeEach(async () => {
  ({ socket, transport } = await overSocket());
  seen = new Recorder();
  transport.bind(seen);
});

describe("a socket that opens", () => {
  test("must speak legato", async () => {
    const other = new FakeSocket();
    other.protocol = "";
    const attempt = WebSocketTransport.connect(() => other);
    other.open();
    await expect(attempt.ready).rejects.toThrow("legato.v1");
  });

  test("or not says so", async () => {
    const other = new FakeSocket();
    const attempt = WebSocketTransport.connect(() => other);
    other.lose();
    await expect(attempt.ready).rejects.toThrow("refused");
  });
});

test("a server that says too much before anybody listens is sent away", async () => {
  const { socket: other, transport: unbound } = await overSocket();
  for (let count = 0; count < 2_000; count += 1) other.receive(encode({ type: "datagram", bytes: new Uint8Array(1_000) }));
  expect(other.sent.map(decode)).toMatchObject([{ type: "close", code: 6 }]);
  unbound.bind(seen);
  expect(seen.told).toMatchObject([{ closed: 6, by: "local" }]);
});

test("large data is cut so that streams interleave", () => {
  const control = transport.openStream(true);
  transport.send(control, new Uint8Array(150_000), true);
  const sizes = socket.sent.map((data) => {
    const message = decode(data)!;
    return message.type === "data" && [message.stream, message.bytes.length, message.fin];
  });
  expect(sizes).toEqual([
    [0, 65_536, false],
    [0, 65_536, false],
    [0, 18_928, true],
  ]);
});

test("a bare end is a message too", () => {
  const stream = transport.openStream(false);
  transport.send(stream, new Uint8Array(0), true);
  expect(decode(socket.sent[0]!)).toMatchObject({ type: "data", stream: 2, fin: true });
});

test("datagrams do not wait behind a backlog", () => {
  transport.sendDatagram(Uint8Array.of(0, 1));
  socket.bufferedAmount = 20_000;
  transport.sendDatagram(Uint8Array.of(0, 2));
  expect(socket.sent).toHaveLength(1);
  expect(transport.unsent).toBe(20_000);
});

test("a text message is a violation", () => {
  socket.receive("hello");
  expect(seen.told).toMatchObject([{ closed: 2, by: "local" }]);
  expect(socket.closedWith).toBe(1000);
});

test("a socket that closes without a word is a lost connection", () => {
  socket.lose(1001);
  expect(seen.told).toEqual([{ closed: 0, reason: "the WebSocket closed with status 1001", by: "transport" }]);
});

test("an end of ours is said, and nothing behind it", () => {
  transport.close(0, "hung up");
  socket.lose(1000);
  transport.sendDatagram(Uint8Array.of(0, 1));
  socket.receive(Uint8Array.of(4));
  expect(socket.sent.map(decode)).toEqual([{ type: "close", code: 0, reason: "hung up" }]);
  expect(seen.told).toEqual([]);
});
