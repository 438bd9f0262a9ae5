// A network in virtual time whose connections can be silent for a while, die without a word, or be cut; and the server
// at its end, which keeps its call by wire/SPEC.md, section 17, and checks what the client does.
//
// Streams are reliable while their connection lives; what is under way when it dies is gone.

import type { Attempt, Handler, Transport, TransportName } from "../src/transports/base.ts";
import { AudioReader, ControlReader, controlRecord, downlinkRecord } from "../src/wire/records.ts";
import * as varint from "../src/wire/varint.ts";

/** What a browser needs to notice that a connection is dead, and a server. */
const BROWSER_NOTICES_MS = 6_400;
const SERVER_NOTICES_MS = 30_000;

type Deed = () => void;

/** One connection: the client's transport on one side, a visit at the server on the other. */
export class Link implements Transport {
  readonly unsent = 0;
  handler: Handler | null = null;
  visit: Visit | null = null;
  over = false;
  /** Nothing passes here, while it may elsewhere. */
  stalled = false;
  /** Nothing leaves here: a browser that has lost much waits before it sends again. */
  waits = false;
  private early: ((handler: Handler) => void)[] = [];
  private readonly queue: { due: number; deed: Deed }[] = [];
  private streams = 0;

  constructor(
    readonly name: TransportName,
    private readonly network: LossyNetwork,
  ) {}

  bind(handler: Handler): void {
    this.handler = handler;
    for (const tell of this.early.splice(0)) tell(handler);
  }

  openStream(bidirectional: boolean): number {
    this.streams += 1;
    return bidirectional ? 0 : 2 + 4 * (this.streams - 2);
  }

  send(stream: number, data: Uint8Array, fin: boolean): void {
    if (!this.waits) this.carry(() => this.visit?.receive(stream, data.slice(), fin));
  }

  stop(): void {}

  sendDatagram(data: Uint8Array): void {
    if (!this.network.silent && !this.stalled && !this.waits) this.carry(() => this.tell((handler) => handler.datagram(Uint8Array.of(1, ...data.subarray(1)))));
  }

  close(code: number): void {
    this.carry(() => this.visit?.left(code));
    this.over = true;
  }

  /** From the server. */
  tell(what: (handler: Handler) => void): void {
    this.carry(() => {
      if (this.over) return;
      if (this.handler) what(this.handler);
      else this.early.push(what);
    });
  }

  /** Nothing arrives any more, in either direction; both ends notice in their own time. */
  die(clientNotices = BROWSER_NOTICES_MS, serverNotices = SERVER_NOTICES_MS): void {
    this.network.links.delete(this);
    setTimeout(() => {
      if (this.over) return;
      this.over = true;
      this.handler?.closed("transport", 0, "the connection was lost");
    }, clientNotices);
    setTimeout(() => this.visit?.left(null), serverNotices);
  }

  /** What has waited long enough arrives, in order, if the connection is still there. */
  flow(): void {
    while (!this.network.silent && !this.stalled && this.queue.length && this.queue[0]!.due <= Date.now()) {
      const { deed } = this.queue.shift()!;
      if (this.network.links.has(this)) deed();
    }
  }

  private carry(deed: Deed): void {
    this.queue.push({ due: Date.now() + this.network.latencyMs, deed });
    setTimeout(() => this.flow(), this.network.latencyMs);
  }
}

export class LossyNetwork {
  readonly links = new Set<Link>();
  latencyMs = 20;
  silent = false;
  /** Whether connections can be made. */
  refusing = false;
  attempts = 0;
  readonly server = new ModelServer();

  attempt(name: TransportName): Attempt {
    this.attempts += 1;
    const link = new Link(name, this);
    let abandoned = false;
    const ready = new Promise<Transport>((resolve, reject) => {
      const look = (): void => {
        if (abandoned) return;
        if (this.refusing) return reject(new Error("refused"));
        if (this.silent) return void setTimeout(look, 50);
        this.links.add(link);
        link.visit = new Visit(this.server, link);
        resolve(link);
      };
      setTimeout(look, 2 * this.latencyMs);
    });
    ready.catch(() => {});
    const abandon = (): void => {
      abandoned = true;
      link.close(0);
    };
    return { ready, abandon };
  }

  heal(): void {
    this.silent = this.refusing = false;
    for (const link of this.links) link.flow();
  }
}

/** One connection at the server. */
class Visit {
  private readonly readers = new Map<number, (data: Uint8Array) => void>();
  private readonly control = new ControlReader(1 << 20, (_, payload) => {
    this.server.hear(this, JSON.parse(new TextDecoder().decode(payload)) as Said);
  });
  private streams = 0;

  constructor(
    private readonly server: ModelServer,
    private readonly link: Link,
  ) {}

  receive(stream: number, data: Uint8Array, _fin: boolean): void {
    if (stream === 0) return this.control.feed(data);
    const known = this.readers.get(stream);
    if (known) return known(data);
    const reader = new AudioReader(1 << 16, true, (offset, _, payload) => this.server.listen(this, offset, payload));
    this.readers.set(stream, (more) => reader.feed(more));
    if (data[0] !== 1) throw new Error("no uplink stream");
    reader.feed(data.subarray(1));
  }

  left(code: number | null): void {
    this.server.left(this, code);
  }

  say(event: object): void {
    const record = controlRecord(new TextEncoder().encode(JSON.stringify(event)));
    this.link.tell((handler) => handler.streamData(0, record, false));
  }

  open(): number {
    this.streams += 1;
    const stream = 4 * this.streams - 1;
    this.link.tell((handler) => handler.streamOpened(stream, false));
    return stream;
  }

  send(stream: number, data: Uint8Array, fin: boolean): void {
    this.link.tell((handler) => handler.streamData(stream, data, fin));
  }

  close(code: number): void {
    this.link.tell((handler) => {
      handler.closed("peer", code, "");
      this.link.over = true;
    });
  }
}

export interface Said {
  type: string;
  [member: string]: any;
}

interface ModelReply {
  samples: number[];
  complete: boolean;
  flushed: boolean;
  stream: number | null;
  sent: number;
}

const UNCOUNTED = ["hello", "audio_gap", "playback", "event_ack", "bye"].map((name) => `legato.${name}`);

/** A server that keeps one call; what it finds wrong is noted in `faults`. */
export class ModelServer {
  windowMs = 60_000;
  /** Captured samples, in order. */
  readonly heard: number[] = [];
  /** Counted events of the client. */
  readonly events: Said[] = [];
  readonly replies: ModelReply[] = [];
  readonly faults: string[] = [];
  readonly gaps: Said[] = [];
  ended: number | null = null;
  hellos = 0;
  private readonly said: object[] = [];
  private at: Visit | null = null;
  private ticket = 0;
  private known = 0;
  private checkpoint: { uplink_offset: number; events: number } | null = null;
  private crashed = false;

  say(event: object): void {
    this.said.push(event);
    this.at?.say(event);
  }

  begin(): void {
    const reply: ModelReply = { samples: [], complete: false, flushed: false, stream: null, sent: 0 };
    this.replies.push(reply);
    this.push(reply, false);
  }

  speak(reply: ModelReply, samples: number[], complete: boolean): void {
    reply.samples.push(...samples);
    reply.complete ||= complete;
    this.push(reply, complete);
  }

  /** Tell the client how the call stands. */
  remember(): void {
    this.checkpoint = { uplink_offset: this.heard.length, events: this.events.length };
    this.at?.say({ type: "legato.checkpoint", state: "as it stands", ...this.checkpoint });
  }

  /** The call is lost here: another server knows what the client tells of it. */
  crash(): void {
    this.crashed = true;
    this.at = null;
  }

  /** Announce the end, which comes after so long. */
  stop(inMs: number): void {
    const visit = this.at;
    visit?.say({ type: "legato.going_away", in_ms: inMs });
    setTimeout(() => visit?.close(1), inMs);
  }

  flush(): void {
    const generation = this.replies.length;
    for (const reply of this.replies) reply.flushed = reply.complete = true;
    if (generation) this.say({ type: "legato.flush", generation });
  }

  hear(visit: Visit, event: Said): void {
    if (event.type === "legato.hello") return this.greet(visit, event);
    if (visit !== this.at) return;
    if (event.type === "legato.event_ack") {
      this.known = this.ticket;
      if (event["count"] > this.said.length) this.faults.push("acknowledged events that were not said");
    }
    if (event.type === "legato.audio_gap") this.gaps.push(event);
    if (!UNCOUNTED.includes(event.type)) this.events.push(event);
  }

  listen(visit: Visit, offset: number, payload: Uint8Array): void {
    const samples = new Int16Array(payload.slice().buffer);
    if (visit !== this.at) return;
    if (offset > this.heard.length) this.faults.push(`audio at ${offset}, expected ${this.heard.length}`);
    samples.forEach((sample, index) => {
      const at = offset + index;
      if (at < this.heard.length && this.heard[at] !== sample) this.faults.push(`other audio at ${at}`);
      this.heard[at] = sample;
    });
    visit.say({ type: "legato.audio_ack", offset: this.heard.length });
  }

  left(visit: Visit, code: number | null): void {
    if (visit !== this.at) return;
    this.at = null;
    if (code !== null && code !== 11) this.ended = code;
  }

  private greet(visit: Visit, hello: Said): void {
    this.hellos += 1;
    const resume = hello["resume"] as Said | undefined;
    const number = resume ? Number(resume["ticket"]) : 0;
    const good = resume !== undefined && number >= this.known && number <= this.ticket && this.ended === null;
    if (this.ended !== null) return visit.close(this.ended);
    if (resume && !good) this.faults.push(`ticket ${number} of ${this.known} to ${this.ticket}`);
    if (!resume && this.at) this.faults.push("a second call");
    const rebuilt = this.crashed && resume?.["checkpoint"] === "as it stands";
    if (rebuilt) this.rebuild(resume);
    this.at?.close(11);
    this.at = visit;
    this.ticket += 1;
    visit.say({
      ...{ type: "legato.welcome", session_id: "call_1", input: hello["input"], output: hello["output"][0], profile: "turn" },
      ...{ lead_ms: 10_000, server_time_us: 0, limits: {}, resume_ticket: String(this.ticket), resume_ttl_ms: this.windowMs },
      ...{ resumed: good, rebuilt, uplink_offset: this.heard.length, events: this.events.length },
    });
    if (resume) this.sendAgain(visit, resume);
  }

  /** Go on from the checkpoint: what followed it is heard again, and what was being said is cut where the client has it. */
  private rebuild(resume: Said): void {
    this.crashed = false;
    this.heard.length = this.checkpoint!.uplink_offset;
    this.events.length = this.checkpoint!.events;
    this.said.length = resume["events"];
    this.replies.forEach((reply, index) => {
      const held = (resume["downlink"] as Said[]).find((one) => one["generation"] === index + 1);
      reply.samples.length = Math.min(reply.samples.length, held?.["received"] ?? 0);
      reply.complete = true;
    });
  }

  private sendAgain(visit: Visit, resume: Said): void {
    if (resume["uplink_offset"] > this.heard.length) this.faults.push("the client gave up audio");
    for (const event of this.said.slice(resume["events"])) visit.say(event);
    this.replies.forEach((reply, index) => {
      const held = (resume["downlink"] as Said[]).find((one) => one["generation"] === index + 1);
      reply.stream = null;
      reply.sent = held?.["received"] ?? 0;
      if (held?.["complete"] || held?.["state"] === "stopped" || held?.["state"] === "done") reply.sent = Infinity;
      this.push(reply, false);
    });
  }

  private push(reply: ModelReply, completed: boolean): void {
    const visit = this.at;
    if (!visit || reply.flushed || reply.sent === Infinity) return;
    const generation = this.replies.indexOf(reply) + 1;
    if (reply.stream === null) {
      reply.stream = visit.open();
      const names = { response_id: `resp_${generation}`, item_id: `item_${generation}`, content_index: 0 };
      const format = { codec: "pcm16", rate: 16_000 };
      const header = new TextEncoder().encode(JSON.stringify({ ...names, generation, format }));
      visit.send(reply.stream, Uint8Array.of(2, ...varint.encode(header.length), ...header), false);
      completed = reply.complete;
    }
    const fresh = reply.samples.slice(reply.sent);
    const record = fresh.length ? downlinkRecord(reply.sent, new Uint8Array(Int16Array.from(fresh).buffer)) : new Uint8Array(0);
    reply.sent = completed ? Infinity : reply.samples.length;
    visit.send(reply.stream, record, completed);
  }
}
