// What the transport makes of a browser's session; here one of the platform's own streams.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { WebTransportTransport } from "../src/transports/webtransport.ts";
import { Recorder } from "./fakes.ts";
import { hex } from "./vectors.ts";

/** An error of a stream as browsers make it. */
class StreamError extends Error {
  readonly source = "stream";

  constructor(
    message: string,
    readonly options: { streamErrorCode: number },
  ) {
    super(message);
  }

  get streamErrorCode(): number {
    return this.options.streamErrorCode;
  }
}

class FakeSession {
  readonly ready = Promise.resolve();
  readonly closed = new Promise<object>((resolve, reject) => Object.assign(this, { end: resolve, lose: reject }));
  declare end: (info: object) => void;
  declare lose: (error: Error) => void;
  readonly written: string[] = [];
  readonly aborted: unknown[] = [];
  closedWith: unknown = null;
  refuse = 0;
  outgoing!: WritableStreamDefaultController;
  control!: ReadableStreamDefaultController<Uint8Array>;
  streams!: ReadableStreamDefaultController<ReadableStream>;
  arriving!: ReadableStreamDefaultController<Uint8Array>;
  readonly incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => void (this.streams = controller) });
  readonly incomingBidirectionalStreams = new ReadableStream();
  readonly datagrams = {
    readable: new ReadableStream<Uint8Array>({ start: (controller) => void (this.arriving = controller) }),
    writable: this.sink(),
  };

  sink(): WritableStream {
    return new WritableStream({
      start: (controller) => void (this.outgoing = controller),
      write: (data: Uint8Array) => void this.written.push(hex(data)),
      close: () => void this.written.push("fin"),
    });
  }

  async createUnidirectionalStream(): Promise<WritableStream> {
    this.refuse -= 1;
    if (this.refuse >= 0) throw new Error("no more streams");
    return this.sink();
  }

  async createBidirectionalStream(): Promise<object> {
    const readable = new ReadableStream({ start: (controller) => void (this.control = controller) });
    return { readable, writable: this.sink() };
  }

  close(info: unknown): void {
    this.closedWith = info;
  }
}

let session: FakeSession;
let options: WebTransportOptions | undefined;
let transport: WebTransportTransport;
let seen: Recorder;

const settled = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

beforeEach(async () => {
  vi.useFakeTimers();
  vi.stubGlobal("WebTransportError", StreamError);
  session = new FakeSession();
  seen = new Recorder();
  const attempt = WebTransportTransport.connect("https://voice.example", [new Uint8Array(32)], (_, given) => {
    options = given;
    return session as unknown as WebTransport;
  });
  transport = await attempt.ready;
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("certificates are pinned", () => {
  expect(options).toEqual({ serverCertificateHashes: [{ algorithm: "sha-256", value: new Uint8Array(32) }] });
});

describe("our streams", () => {
  test("take bytes before the browser has opened them", async () => {
    const stream = transport.openStream(false);
    transport.send(stream, Uint8Array.of(1), false);
    transport.send(stream, Uint8Array.of(2), true);
    expect(transport.unsent).toBe(2);
    await settled();
    expect(session.written).toEqual(["01", "02", "fin"]);
    expect(transport.unsent).toBe(0);
  });

  test("are opened later when the server grants none for now", async () => {
    session.refuse = 2;
    transport.send(transport.openStream(false), Uint8Array.of(1), false);
    await vi.advanceTimersByTimeAsync(199);
    expect(session.written).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(session.written).toEqual(["01"]);
  });

  test("that the server stops are told, unless the session ends as well", async () => {
    transport.bind(seen);
    const stream = transport.openStream(false);
    await settled();
    session.outgoing.error(new StreamError("", { streamErrorCode: 4 }));
    await settled();
    expect(seen.told).toEqual([]);
    await vi.advanceTimersByTimeAsync(500);
    expect(seen.told).toEqual([{ stopped: stream, code: 4 }]);
  });

  test("that end with the session are not told beside it", async () => {
    transport.bind(seen);
    transport.openStream(true);
    await settled();
    session.control.error(new StreamError("", { streamErrorCode: 9 }));
    await settled();
    session.end({ closeCode: 5, reason: "no key" });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen.told).toEqual([{ closed: 5, reason: "no key" }]);
  });
});

describe("the server's streams", () => {
  test("are told from the beginning, though nobody listened yet", async () => {
    session.streams.enqueue(
      new ReadableStream({
        start(controller) {
          controller.enqueue(Uint8Array.of(2));
          controller.enqueue(Uint8Array.of(3));
          controller.close();
        },
      }),
    );
    await settled();
    transport.bind(seen);
    await settled();
    expect(seen.told).toEqual([
      { opened: 1, bidirectional: false },
      { data: 1, bytes: "02", fin: false },
      { data: 1, bytes: "03", fin: false },
      { data: 1, bytes: "", fin: true },
    ]);
  });

  test("that are flushed say so at once, and a while later if that may come of the end of the session", async () => {
    transport.bind(seen);
    for (const error of [new StreamError("", { streamErrorCode: 1 }), new TypeError("?"), new StreamError("", { streamErrorCode: 3 })]) {
      session.streams.enqueue(new ReadableStream({ start: (controller) => controller.error(error) }));
    }
    await settled();
    expect(seen.told).toEqual([
      { opened: 1, bidirectional: false },
      { reset: 1, code: 1 },
      { opened: 3, bidirectional: false },
      { opened: 5, bidirectional: false },
    ]);
    await vi.advanceTimersByTimeAsync(500);
    expect(seen.told.slice(-2)).toEqual([
      { reset: 3, code: 0 },
      { reset: 5, code: 3 },
    ]);
  });

  test("that are declined are cancelled with a code, and tell no more", async () => {
    transport.bind(seen);
    let reason: unknown;
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const source = { start: (given: typeof controller) => void (controller = given), cancel: (why: unknown) => void (reason = why) };
    session.streams.enqueue(new ReadableStream(source));
    await settled();
    controller.enqueue(Uint8Array.of(1));
    transport.stop(1, 3);
    await settled();
    expect((reason as StreamError).streamErrorCode).toBe(3);
    expect(seen.told).toEqual([{ opened: 1, bidirectional: false }]);
  });
});

test("a server that says too much before anybody listens is sent away", async () => {
  let more!: ReadableStreamDefaultController<Uint8Array>;
  session.streams.enqueue(new ReadableStream<Uint8Array>({ start: (controller) => void (more = controller) }));
  for (let piece = 0; piece < 20; piece += 1) more.enqueue(new Uint8Array(1 << 16));
  await settled();
  expect(session.closedWith).toMatchObject({ closeCode: 6 });
  transport.bind(seen);
  await settled();
  expect(seen.told).toEqual([{ closed: 6, by: "local", reason: "the server says too much before the hello" }]);
});

describe("datagrams", () => {
  test("go and come", async () => {
    transport.bind(seen);
    transport.sendDatagram(Uint8Array.of(0, 1));
    session.arriving.enqueue(Uint8Array.of(1, 1));
    await settled();
    expect(session.written).toEqual(["0001"]);
    expect(seen.told).toEqual([{ datagram: "0101" }]);
  });

  test("are dropped rather than kept waiting", async () => {
    for (let beat = 0; beat < 5; beat += 1) transport.sendDatagram(Uint8Array.of(0, beat));
    await settled();
    expect(session.written).toEqual(["0000"]);
  });
});

describe("the end", () => {
  test("is ours", async () => {
    transport.bind(seen);
    transport.close(0, "hung up");
    session.end({ closeCode: 0, reason: "hung up" });
    await settled();
    expect(session.closedWith).toEqual({ closeCode: 0, reason: "hung up" });
    expect(seen.told).toEqual([]);
  });

  test("is the network's", async () => {
    transport.bind(seen);
    session.lose(new Error("timed out"));
    await settled();
    expect(seen.told).toEqual([{ closed: 0, reason: "timed out", by: "transport" }]);
  });
});

test("an attempt that is abandoned is closed", () => {
  const other = new FakeSession();
  WebTransportTransport.connect("https://voice.example", [], () => other as unknown as WebTransport).abandon();
  expect(other.closedWith).not.toBeNull();
});
