// Stand-ins for what only a browser has. They keep the contracts of transports/base.ts.

import type { Attempt, Handler, Transport } from "../src/transports/base.ts";
import type { Socket } from "../src/transports/websocket.ts";
import { hex } from "./vectors.ts";

/** A browser's WebSocket, of which the test is the server. */
export class FakeSocket implements Socket {
  binaryType: BinaryType = "blob";
  bufferedAmount = 0;
  protocol = "legato.v1";
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  readonly sent: Uint8Array[] = [];
  closedWith: number | undefined;

  send(data: Uint8Array): void {
    this.sent.push(data);
  }

  close(code?: number): void {
    this.closedWith = code;
  }

  open(): void {
    this.onopen?.call(this as never, new Event("open"));
  }

  receive(data: Uint8Array | string): void {
    const body = typeof data === "string" ? data : data.slice().buffer;
    this.onmessage?.call(this as never, { data: body } as MessageEvent);
  }

  lose(code = 1006): void {
    this.onclose?.call(this as never, { code } as CloseEvent);
  }
}

/** Notes what a transport tells, in the notation of the vectors. */
export class Recorder implements Handler {
  readonly told: object[] = [];

  streamOpened(opened: number, bidirectional: boolean): void {
    this.told.push({ opened, bidirectional });
  }

  streamData(data: number, bytes: Uint8Array, fin: boolean): void {
    this.told.push({ data, bytes: hex(bytes), fin });
  }

  streamReset(reset: number, code: number): void {
    this.told.push({ reset, code });
  }

  streamStopped(stopped: number, code: number): void {
    this.told.push({ stopped, code });
  }

  datagram(bytes: Uint8Array): void {
    this.told.push({ datagram: hex(bytes) });
  }

  closed(by: string, closed: number, reason: string): void {
    this.told.push(by === "peer" ? { closed, reason } : { closed, reason, by });
  }
}

/** A connection whose other end is the test. */
export class FakeTransport implements Transport {
  unsent = 0;
  handler: Handler | null = null;
  readonly streams: { bidirectional: boolean; bytes: number[]; fin: boolean }[] = [];
  readonly stopped: [stream: number, code: number][] = [];
  readonly datagrams: Uint8Array[] = [];
  closedWith: [code: number, reason: string] | null = null;

  constructor(readonly name: "webtransport" | "websocket" = "webtransport") {}

  bind(handler: Handler): void {
    this.handler = handler;
  }

  openStream(bidirectional: boolean): number {
    this.streams.push({ bidirectional, bytes: [], fin: false });
    return 2 * (this.streams.length - 1);
  }

  send(stream: number, data: Uint8Array, fin: boolean): void {
    const own = this.streams[stream / 2]!;
    own.bytes.push(...data);
    own.fin ||= fin;
  }

  stop(stream: number, code: number): void {
    this.stopped.push([stream, code]);
  }

  sendDatagram(data: Uint8Array): void {
    this.datagrams.push(data);
  }

  close(code: number, reason: string): void {
    this.closedWith = [code, reason];
  }
}

/** A connection attempt that the test decides about. */
export class FakeAttempt implements Attempt {
  readonly ready: Promise<Transport>;
  abandoned = false;
  readonly transport: FakeTransport;
  private decide!: { resolve: (transport: Transport) => void; reject: (error: Error) => void };

  constructor(name: "webtransport" | "websocket" = "webtransport") {
    this.transport = new FakeTransport(name);
    this.ready = new Promise((resolve, reject) => (this.decide = { resolve, reject }));
    this.ready.catch(() => {});
  }

  succeed(): void {
    this.decide.resolve(this.transport);
  }

  fail(reason: string): void {
    this.decide.reject(new Error(reason));
  }

  abandon(): void {
    this.abandoned = true;
  }
}
