// Stand-ins for what only a browser has. They keep the contracts of transports/base.ts.

import type { PlayerReport } from "../src/audio/playback-buffer.ts";
import type { PlayerMessage } from "../src/network/threads.ts";
import type { Attempt, Handler, Transport } from "../src/transports/base.ts";
import { WebSocketTransport, type Socket } from "../src/transports/websocket.ts";
import { AudioReader, ControlReader, controlRecord } from "../src/wire/records.ts";
import * as varint from "../src/wire/varint.ts";
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

/** A transport over a socket that is open. */
export async function overSocket(): Promise<{ socket: FakeSocket; transport: WebSocketTransport }> {
  const socket = new FakeSocket();
  const attempt = WebSocketTransport.connect(() => socket);
  socket.open();
  return { socket, transport: await attempt.ready };
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

/** One end of a channel, of which the test is the other. */
export class FakePort {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly sent: unknown[] = [];

  postMessage(message: unknown): void {
    this.sent.push(message);
  }

  receive(data: unknown): void {
    this.onmessage?.({ data });
  }
}

/** The playback worklet, of which the test is the loudspeaker. */
export class FakePlayer extends FakePort {
  /** Tell how much waits. */
  waits(buffered: number): void {
    this.receive({ kind: "reports", buffered, underruns: 0, reports: [] });
  }

  /** Tell how it goes with the reply of a generation. */
  tell(figures: Pick<PlayerReport, "played" | "state"> & Partial<PlayerReport>): void {
    const generation = figures.generation ?? 1;
    const report = { contentIndex: 0, buffered: 0, underruns: 0, ...figures, generation, itemId: `item_${generation}` };
    const { buffered, underruns } = report;
    this.receive({ kind: "reports", buffered, underruns, reports: [report] } satisfies PlayerMessage);
  }
}

/** The server's end of a call, behind a transport that a test plays. */
export class FakeServer {
  private read = 0;
  private readonly streams = new Map<number, number>();

  constructor(private readonly transport: FakeTransport) {}

  /** Say an event. */
  say(event: object): void {
    this.transport.handler!.streamData(0, controlRecord(new TextEncoder().encode(JSON.stringify(event))), false);
  }

  welcome(): void {
    const [hello] = this.events() as { input: object; output: object[] }[];
    this.say({
      ...{ type: "legato.welcome", session_id: "call_1", input: hello!.input, output: hello!.output[0], profile: "turn" },
      ...{ lead_ms: 10_000, server_time_us: 0, limits: {} },
    });
  }

  /** What the client said since the last time. */
  heard(): object[] {
    const events = this.events();
    const news = events.slice(this.read);
    this.read = events.length;
    return news;
  }

  /** How many samples of plain audio arrived. */
  samples(): number {
    let count = 0;
    for (const { bytes } of this.transport.streams.slice(1)) {
      const reader = new AudioReader(1 << 16, true, (_, __, payload) => (count += payload.length / 2));
      reader.feed(Uint8Array.from(bytes.slice(1)));
    }
    return count;
  }

  /** Begin the reply of a generation. */
  reply(generation: number, records: Uint8Array, format: object = { codec: "pcm16", rate: 16_000 }): void {
    const stream = 3 + 4 * this.streams.size;
    this.streams.set(generation, stream);
    const names = { response_id: `resp_${generation}`, item_id: `item_${generation}`, content_index: 0 };
    const header = new TextEncoder().encode(JSON.stringify({ ...names, generation, format }));
    this.transport.handler!.streamOpened(stream, false);
    this.more(generation, Uint8Array.of(2, ...varint.encode(header.length), ...header, ...records), false);
  }

  more(generation: number, records: Uint8Array, fin: boolean): void {
    this.transport.handler!.streamData(this.streams.get(generation)!, records, fin);
  }

  private events(): object[] {
    const found: object[] = [];
    const reader = new ControlReader(1 << 20, (_, payload) => found.push(JSON.parse(new TextDecoder().decode(payload)) as object));
    reader.feed(Uint8Array.from(this.transport.streams[0]!.bytes));
    return found;
  }
}
