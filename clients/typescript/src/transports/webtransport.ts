// A browser's WebTransport session: QUIC streams and datagrams without a middle layer.
//
// Owns what browsers do differently: streams that open later than asked for, errors without codes, two ways to reach
// the datagrams' writer. Must not know what streams carry.

import type { Party } from "../core/outputs.ts";
import { StreamCode } from "../wire/codes.ts";
import { Listening, type Attempt, type Handler, type Transport } from "./base.ts";

/** How long a stream waits that the browser would not open because the server grants no more for now. */
const REOPEN_MS = 100;
/**
 * How long an end of a stream that may be more than that waits for the end of the session that may have caused it: browsers tell the
 * two in either order.
 */
const GRACE_MS = 500;
/** Browsers keep one incoming datagram by default and drop the others. */
const DATAGRAMS_KEPT = 16;

/** Makes a browser's session. */
export type MakeSession = (url: string, options: WebTransportOptions) => WebTransport;

const browserSession: MakeSession = (url, options) => new WebTransport(url, options);

export class WebTransportTransport implements Transport {
  readonly name = "webtransport";
  unsent = 0;
  private readonly listening = new Listening((closeCode, reason) => {
    this.session.close({ closeCode, reason });
    this.end("local", closeCode, reason);
  });
  private readonly outgoing = new Map<number, OutgoingStream>();
  private readonly incoming = new Map<number, ReadableStreamDefaultReader<Uint8Array>>();
  private readonly datagrams: WritableStreamDefaultWriter<BufferSource>;
  private nextOwn = 0;
  private nextForeign = 1;
  private over = false;

  /** Connect to `url`; with `hashes` (SHA-256 of certificates), no other certificate is trusted. */
  static connect(
    url: string,
    hashes: readonly Uint8Array<ArrayBuffer>[],
    make = browserSession,
  ): Attempt & { readonly ready: Promise<WebTransportTransport> } {
    const pinned = hashes.map((value) => ({ algorithm: "sha-256", value }));
    const session = make(url, pinned.length ? { serverCertificateHashes: pinned } : {});
    // Both are rejected when the session fails; whoever awaits one must not be warned about the other.
    session.closed.catch(() => {});
    const ready = session.ready.then(() => new WebTransportTransport(session));
    return { ready, abandon: () => abandon(session) };
  }

  private constructor(private readonly session: WebTransport) {
    const { datagrams } = session as unknown as { datagrams: DatagramDuplex };
    datagrams.incomingHighWaterMark = datagrams.incomingMaxBufferedDatagrams = DATAGRAMS_KEPT;
    this.datagrams = (datagrams.createWritable?.() ?? datagrams.writable).getWriter();
    this.datagrams.closed.catch(() => {});
    session.closed.then(
      ({ closeCode, reason }) => this.end("peer", closeCode ?? 0, reason ?? ""),
      (error: unknown) => this.end("transport", 0, (error as Error)?.message || "the connection was lost"),
    );
    void each(session.incomingUnidirectionalStreams, (stream) => this.admit(stream, false));
    void each(session.incomingBidirectionalStreams, ({ readable }) => this.admit(readable, true));
    void each(datagrams.readable, (data) => this.listening.datagram(data));
  }

  bind(handler: Handler): void {
    this.listening.bind(handler);
  }

  openStream(bidirectional: boolean): number {
    const id = this.nextOwn;
    this.nextOwn += 2;
    const stream = new OutgoingStream(
      (bytes) => (this.unsent += bytes),
      (code) => this.later(() => this.listening.streamStopped(id, code)),
    );
    this.outgoing.set(id, stream);
    void this.establish(id, stream, bidirectional);
    return id;
  }

  send(stream: number, data: Uint8Array, fin: boolean): void {
    this.outgoing.get(stream)?.write(data, fin);
    if (fin) this.outgoing.delete(stream);
  }

  stop(stream: number, code: number): void {
    const reader = this.incoming.get(stream);
    this.incoming.delete(stream);
    reader?.cancel(streamError(code)).catch(() => {});
  }

  sendDatagram(data: Uint8Array): void {
    if ((this.datagrams.desiredSize ?? 0) > 0) this.datagrams.write(data as BufferSource).catch(() => {});
  }

  close(closeCode: number, reason: string): void {
    this.over = true;
    this.listening.silence();
    this.session.close({ closeCode, reason });
  }

  private async establish(id: number, stream: OutgoingStream, bidirectional: boolean): Promise<void> {
    while (!this.over) {
      try {
        if (bidirectional) {
          const { readable, writable } = await this.session.createBidirectionalStream();
          stream.connect(writable.getWriter());
          void this.read(id, readable);
        } else {
          stream.connect((await this.session.createUnidirectionalStream()).getWriter());
        }
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, REOPEN_MS));
      }
    }
  }

  private admit(readable: ReadableStream<Uint8Array>, bidirectional: boolean): void {
    const id = this.nextForeign;
    this.nextForeign += 2;
    this.listening.streamOpened(id, bidirectional);
    void this.read(id, readable);
  }

  private async read(id: number, readable: ReadableStream<Uint8Array>): Promise<void> {
    const reader = readable.getReader();
    this.incoming.set(id, reader);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (!this.incoming.has(id)) return;
        this.listening.streamData(id, value ?? new Uint8Array(0), done);
        if (done) break;
      }
    } catch (error) {
      if (!this.incoming.has(id)) return;
      // Either browser has a race in which a code is missing; and an end of the session ends its streams, in Chromium with
      // a code of theirs. So only what has to take effect at once does.
      const code = codeIn(error);
      if (id % 2 && code === StreamCode.FLUSHED) this.listening.streamReset(id, code);
      else this.later(() => this.listening.streamReset(id, code ?? StreamCode.NO_ERROR));
    } finally {
      this.incoming.delete(id);
    }
  }

  private later(tell: () => void): void {
    setTimeout(() => this.over || tell(), GRACE_MS);
  }

  private end(by: Party, code: number, reason: string): void {
    this.over = true;
    this.listening.closed(by, code, reason);
  }
}

/** What TypeScript's own types do not have yet, or do not have any more. */
interface DatagramDuplex {
  incomingHighWaterMark: number;
  /** The same in later drafts. */
  incomingMaxBufferedDatagrams: number;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<BufferSource>;
  createWritable?(): WritableStream<BufferSource>;
}

/** Our direction of a stream, which can be written to before the browser has opened it. */
class OutgoingStream {
  private writer: WritableStreamDefaultWriter<BufferSource> | null = null;
  private readonly waiting: [data: Uint8Array, fin: boolean][] = [];

  constructor(
    private readonly account: (bytes: number) => void,
    private readonly stopped: (code: number) => void,
  ) {}

  connect(writer: WritableStreamDefaultWriter<BufferSource>): void {
    this.writer = writer;
    writer.closed.catch((error: unknown) => {
      const code = codeIn(error);
      if (code !== null) this.stopped(code);
    });
    for (const [data, fin] of this.waiting.splice(0)) this.pass(writer, data, fin);
  }

  write(data: Uint8Array, fin: boolean): void {
    this.account(data.length);
    if (this.writer) this.pass(this.writer, data, fin);
    else this.waiting.push([data, fin]);
  }

  private pass(writer: WritableStreamDefaultWriter<BufferSource>, data: Uint8Array, fin: boolean): void {
    const taken = (): void => this.account(-data.length);
    if (data.length) writer.write(data as BufferSource).then(taken, taken);
    if (fin) writer.close().catch(() => {});
  }
}

async function each<T>(readable: ReadableStream<T>, take: (value: T) => void): Promise<void> {
  const reader = readable.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      take(value);
    }
  } catch {
    // The session has ended, which it says itself.
  }
}

function abandon(session: WebTransport): void {
  try {
    session.close();
  } catch {
    // It has failed already.
  }
}

function codeIn(error: unknown): number | null {
  const { source, streamErrorCode } = error as { source?: string; streamErrorCode?: number | null };
  return source === "stream" ? (streamErrorCode ?? null) : null;
}

/** An error that carries `code` to the server; Chromium still has the constructor of an earlier draft. */
function streamError(code: number): WebTransportError {
  const Constructor = WebTransportError as unknown as new (...given: unknown[]) => WebTransportError;
  try {
    return new Constructor("", { streamErrorCode: code });
  } catch {
    return new Constructor({ streamErrorCode: code });
  }
}
