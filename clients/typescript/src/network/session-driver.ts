// The one loop that joins a session to a transport.
//
// Owns the drain rule: after every input the session is emptied of events (to the owner) and outputs (to the transport),
// and its deadline is armed. Knows neither what events mean nor how bytes travel.

import type { ClientSession } from "../core/client-session.ts";
import type { Event, Output, Party } from "../core/outputs.ts";
import type { Handler, Transport } from "../transports/base.ts";

export class SessionDriver implements Handler {
  /** By stream of the transport, and the other way round, for the streams of this side. */
  private readonly keys = new Map<number, number>();
  private readonly streams = new Map<number, number>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private settling = false;
  received = 0;

  /** `now` is a monotonic clock in microseconds; `react` takes the session's events, in order. */
  constructor(
    readonly session: ClientSession,
    readonly transport: Transport,
    private readonly now: () => number,
    private readonly react: (event: Event) => void,
  ) {}

  /** Listen to the transport and say hello. */
  start(): void {
    this.transport.bind(this);
    this.settle();
  }

  streamOpened(stream: number, bidirectional: boolean): void {
    this.take(() => this.session.streamOpened(stream, bidirectional));
  }

  streamData(stream: number, data: Uint8Array, fin: boolean): void {
    this.received += data.length;
    this.take(() => this.session.receive(this.key(stream), data, fin));
  }

  streamReset(stream: number, code: number): void {
    this.take(() => this.session.streamReset(this.key(stream), code));
  }

  streamStopped(stream: number, code: number): void {
    this.take(() => this.session.streamStopped(this.key(stream), code));
  }

  datagram(data: Uint8Array): void {
    this.take(() => this.session.datagram(data));
  }

  closed(by: Party, code: number, reason: string): void {
    this.take(() => this.session.closed(by, code, reason, this.now()));
  }

  /** Empty the session; to be called after every operation on it. Events may operate on it again. */
  settle(): void {
    if (this.settling) return;
    this.settling = true;
    try {
      for (;;) {
        const events = this.session.events();
        events.forEach(this.react);
        const outputs = this.session.outputs();
        outputs.forEach((output) => this.carryOut(output));
        if (!events.length && !outputs.length) break;
      }
    } finally {
      this.settling = false;
    }
    this.arm();
  }

  private take(input: () => void): void {
    input();
    this.settle();
  }

  /** The session's name for a stream: negative for our own, the transport's number for others. */
  private key(stream: number): number {
    return this.keys.get(stream) ?? stream;
  }

  private carryOut(output: Output): void {
    switch (output.kind) {
      case "open": {
        const stream = this.transport.openStream(output.bidirectional);
        this.streams.set(output.key, stream);
        this.keys.set(stream, output.key);
        return;
      }
      case "send": {
        const stream = this.streams.get(output.key)!;
        this.transport.send(stream, output.data, output.fin);
        if (output.fin) {
          this.streams.delete(output.key);
          this.keys.delete(stream);
        }
        return;
      }
      case "stop":
        return this.transport.stop(output.stream, output.code);
      case "datagram":
        return this.transport.sendDatagram(output.data);
      case "close":
        return this.transport.close(output.code, output.reason);
    }
  }

  private arm(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const deadline = this.session.nextDeadline;
    if (deadline === null) return;
    const delay = Math.max(0, Math.ceil((deadline - this.now()) / 1_000));
    this.timer = setTimeout(() => this.take(() => this.session.onDeadline(this.now())), delay);
  }
}
