// One call as its client sees it: captured audio into it, replies out of it. Sans-IO: time is passed in.
//
// Owns what a client does with streams, messages and time (wire/SPEC.md). Must not know the player, the microphone
// or the transport.
//
// The contract. Inputs tell what happened, operations what the owner wants; both take the time `now` (microseconds of
// any monotonic clock). After each of them: carry out `outputs()` in order, look at `events()` in order, and call
// `onDeadline(now)` when `nextDeadline` is reached. Nothing is lost by draining late, only delayed. An input never
// throws on account of the peer's bytes: a violation becomes "close" as the last output and "sessionEnded" as the last
// event, and everything later has no effect. An operation that is not allowed throws LocalProtocolError; one that
// merely comes too late does nothing.
//
//     connecting ──welcome──► active ──going away──► draining        (any) ──end──► closed
//                               └───────lose──► parked ◄──lose──┘
//
// A parked session has lost its connection and remembers what its owner does for the session that continues the call.
// One that `continues` another takes over with its welcome; until then the owner keeps to the old one, connected or not.

import { LocalProtocolError, RemoteProtocolError } from "../errors.ts";
import { cut } from "../wire/close-reason.ts";
import { DATAGRAM_MAX_BYTES, DatagramType, RecordType, SessionCode, StreamType } from "../wire/codes.ts";
import { equal } from "../wire/formats.ts";
import * as messages from "../wire/messages.ts";
import { assembled, ControlReader, controlRecord } from "../wire/records.ts";
import * as varint from "../wire/varint.ts";
import { Downlink } from "./downlink.ts";
import { Early } from "./early.ts";
import { LastingCall } from "./lasting-call.ts";
import type { Event, Output, Party } from "./outputs.ts";
import { UPLINK_SETTINGS, UplinkSender, type Piece, type UplinkSettings, type UplinkStreams } from "./uplink-sender.ts";

export type SessionState = "connecting" | "active" | "draining" | "parked" | "closed";

/** What a client accepts unless told otherwise. */
export const CLIENT_LIMITS: Readonly<messages.Limits> = { ...messages.DEFAULT_LIMITS, hello_ms: 10_000 };

export interface ClientSessionOptions {
  uplink?: UplinkSettings;
  limits?: messages.Limits;
  /** Audio captured for an earlier session that the server may not have. */
  carried?: readonly Piece[];
  /** How long a lost connection may be replaced, if the server allows as much; 0 (default): not at all. */
  resumeUs?: number;
  /** The session whose call goes on here; the hello carries its `resumeRequest`. */
  continues?: ClientSession;
}

export class ClientSession implements UplinkStreams {
  readonly limits: messages.Limits;
  /** When `onDeadline` is due; null while nothing waits for time. */
  nextDeadline: number | null;
  private current: SessionState = "connecting";
  private undone: Output[] = [];
  private untold: Event[] = [];
  private nextKey = -1;
  private readonly controlKey: number;
  private readonly control: ControlReader;
  private controlLimit: number;
  /** What arrived on the server's streams before the welcome. */
  private readonly early: Early;
  private readonly downlink: Downlink;
  private readonly start: number;
  private readonly call: LastingCall;
  private welcome: messages.Welcome | null = null;
  private connected = true;
  private loss: Extract<Event, { kind: "connectionLost" }> | null = null;
  private windowUs = 0;

  /** The first outputs open the control stream and say hello; audio and events may follow at once. */
  constructor(
    readonly hello: messages.Hello,
    now: number,
    private readonly options: ClientSessionOptions = {},
  ) {
    this.limits = options.limits ?? CLIENT_LIMITS;
    this.early = new Early(this.limits.window_bytes);
    this.nextDeadline = now + this.limits.hello_ms * 1_000;
    this.controlLimit = this.limits.control_record_bytes;
    this.control = new ControlReader(this.controlLimit, (type, payload) => {
      if (type === RecordType.EVENT && !this.ended) this.takeEvent(payload);
    });
    this.downlink = new Downlink(
      this.limits.audio_record_bytes,
      (event) => this.untold.push(event),
      (stream, code) => this.undone.push({ kind: "stop", stream, code }),
    );
    this.start = hello.resume?.uplink_offset ?? options.carried?.[0]?.start ?? 0;
    this.controlKey = this.openStream(true);
    this.say(messages.encodeMessage(hello));
    const settings = options.uplink ?? UPLINK_SETTINGS;
    const uplink = new UplinkSender(hello.input, settings, this.start, this, options.carried);
    this.call = new LastingCall(uplink, this.downlink, (event) => this.untold.push(event));
    uplink.pump();
  }

  get state(): SessionState {
    return this.current;
  }

  /** What to do now, in order; the next call starts anew. */
  outputs(): Output[] {
    const drained = this.undone;
    this.undone = [];
    return drained;
  }

  /** What happened, in order; the next call starts anew. */
  events(): Event[] {
    const drained = this.untold;
    this.untold = [];
    return drained;
  }

  // Inputs

  /** The peer opened a stream. */
  streamOpened(stream: number, bidirectional: boolean): void {
    this.guarded(() => {
      if (bidirectional) throw violation("a server opens no bidirectional streams");
      this.downlink.opened(stream);
    });
  }

  /** The next bytes of a stream arrived, the last ones if `fin`; unknown streams are ignored. */
  receive(stream: number, data: Uint8Array, fin: boolean): void {
    this.guarded(() => {
      if (stream === this.controlKey) {
        this.control.feed(data);
        if (fin && !this.ended) throw violation("the control stream ended before the session");
      } else {
        this.whenWelcome(data.length, () => this.downlink.receive(stream, data, fin));
      }
    });
  }

  /** The peer abandoned its direction of a stream. */
  streamReset(stream: number, code: number): void {
    this.guarded(() => {
      if (stream === this.controlKey) throw violation("the control stream was abandoned");
      this.whenWelcome(0, () => this.downlink.reset(stream, code));
    });
  }

  /** The peer reads no more of our direction of a stream. */
  streamStopped(stream: number, _code: number): void {
    this.guarded(() => {
      if (stream === this.controlKey) throw violation("the control stream was abandoned");
      throw violation("the server stopped a stream of this client");
    });
  }

  /** A datagram arrived; unknown, malformed and oversized ones are ignored. */
  datagram(data: Uint8Array): void {
    const type = varint.decode(data, 0);
    const sequence = type && varint.decode(data, type.next);
    if (!type || !sequence || data.length > DATAGRAM_MAX_BYTES || this.ended) return;
    if (type.value === DatagramType.HEARTBEAT && sequence.value <= Number.MAX_SAFE_INTEGER) {
      this.undone.push({ kind: "datagram", data: assembled([DatagramType.HEARTBEAT_ECHO, sequence.value]) });
    } else if (type.value === DatagramType.HEARTBEAT_ECHO) {
      this.untold.push({ kind: "heartbeatReturned", sequence: sequence.value });
    }
  }

  /**
   * The transport session is over. So is the call, unless another session may continue it: then it waits for that. Said
   * of a call that waits, it is over.
   */
  closed(by: Party, code: number, reason: string, now: number): void {
    // A server that has said it would stop leaves the call to whoever can take it up.
    const leaves = this.current === "draining" && code === SessionCode.GOING_AWAY && this.carries;
    const lost = by === "transport" || code === SessionCode.REPLACED || leaves;
    if (!lost || !this.windowUs || (this.current !== "active" && this.current !== "draining")) {
      return this.end(by, code, reason);
    }
    this.current = "parked";
    this.loss = { kind: "connectionLost", by, code, reason };
    this.untold.push(this.loss);
    this.nextDeadline = now + this.windowUs;
    this.connected = false;
    this.undone = [];
    this.downlink.clear();
    this.call.uplink.detach();
  }

  /** Time has passed; harmless if nothing is due. */
  onDeadline(now: number): void {
    if (this.ended || this.nextDeadline === null || now < this.nextDeadline) return;
    if (this.loss) this.end(this.loss.by, this.loss.code, this.loss.reason);
    else this.endLocally(SessionCode.HELLO_TIMEOUT, "no welcome in time");
  }

  // Operations

  /** Send captured audio, whole samples or one packet; returns the position behind it. Nothing is lost. */
  sendAudio(payload: Uint8Array, capturedUs: number): number {
    return this.ended ? this.call.uplink.captured : this.call.uplink.push(payload, capturedUs);
  }

  /** Nothing follows for a while: let the server have and acknowledge everything now. */
  endUtterance(): void {
    if (!this.ended) this.call.uplink.endGroup();
  }

  /** Say an event of the dialect, which arrives whatever becomes of this connection. */
  sendEvent(event: messages.JsonObject): void {
    const payload = messages.encodeEvent(event, this.controlLimit);
    if (this.ended) return;
    this.call.log.say(payload);
    this.say(payload);
  }

  /** Tell what the player did: on every change and every 200 ms while playing. */
  reportPlayback(report: messages.Playback): void {
    if (this.current === "connecting") {
      throw new LocalProtocolError("reportPlayback needs an accepted session; wait for the welcome");
    }
    if (this.ended) return;
    this.downlink.report(report);
    this.say(messages.encodeMessage(report));
  }

  /** Ask for proof that the path works; "heartbeatReturned" with the same number is it. */
  sendHeartbeat(sequence: number): void {
    const data = assembled([DatagramType.HEARTBEAT, sequence]);
    if (!this.ended && this.connected) this.undone.push({ kind: "datagram", data });
  }

  /** End the session at once; unsent data may be lost. */
  close(code: number, reason: string): void {
    this.endLocally(code, reason);
  }

  /** Another session continues the call, or will: this one ends. */
  handOver(): void {
    this.endLocally(SessionCode.REPLACED, "another connection continues the call");
  }

  /** Position behind the last captured sample. */
  get captured(): number {
    return this.call.uplink.captured;
  }

  /** Position up to which the server has handed audio to the agent. */
  get acked(): number {
    return this.call.uplink.acked;
  }

  /** The captured audio that is still held, for a session that takes over. */
  get carried(): Piece[] {
    return this.call.uplink.pieces;
  }

  /** Whether another server could continue this call. */
  get carries(): boolean {
    return this.call.carries;
  }

  /** Whether a session could continue this call. */
  get resumable(): boolean {
    return !this.ended && this.windowUs > 0 && Boolean(this.welcome?.resume_ticket);
  }

  /** What the hello of a session that continues this call says; null if the server allows none. */
  resumeRequest(): messages.ResumeRequest | null {
    if (!this.resumable) return null;
    return this.call.request(this.welcome!.resume_ticket!);
  }

  // What the uplink sender needs

  openGroup(): number {
    const key = this.openStream(false);
    this.undone.push({ kind: "send", key, data: varint.encode(StreamType.UPLINK_AUDIO), fin: false });
    return key;
  }

  sendRecord(key: number, data: Uint8Array, fin: boolean): void {
    this.undone.push({ kind: "send", key, data, fin });
  }

  declareLost(start: number, stop: number): void {
    this.say(messages.encodeMessage({ type: "legato.audio_gap", from: start, to: stop }));
  }

  // What the peer does

  private get ended(): boolean {
    return this.current === "closed";
  }

  private takeEvent(payload: Uint8Array): void {
    const message = messages.readServerEvent(payload);
    if (this.current === "connecting") this.takeWelcome(message as messages.ServerMessage);
    else if (message.type === "legato.welcome") throw violation("legato.welcome was said twice");
    else this.takeMessage(message as messages.ServerMessage, payload.length);
  }

  private takeMessage(message: messages.ServerMessage, size: number): void {
    if (message.type === "legato.audio_ack") {
      this.call.uplink.acknowledge(message.offset);
    } else if (message.type === "legato.event_ack") {
      this.call.log.acknowledge(message.count);
    } else if (message.type === "legato.checkpoint") {
      this.call.remember(message);
    } else if (message.type === "legato.going_away") {
      this.current = "draining";
      this.untold.push({ kind: "draining", inMs: message.in_ms });
    } else if (!this.call.again()) {
      if (message.type === "legato.flush") this.downlink.flush(message.first, message.generation);
      else this.untold.push({ kind: "eventReceived", event: message as unknown as messages.JsonObject });
      if (this.call.log.take(size) && this.call.log.keeps) this.acknowledgeEvents();
    }
  }

  private takeWelcome(welcome: messages.ServerMessage): void {
    if (welcome.type !== "legato.welcome") throw violation("the first event is not legato.welcome");
    const { input, output, resume } = this.hello;
    if (!equal(welcome.input, input) || !output.some((one) => equal(welcome.output, one))) {
      throw new RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "welcome with a format not offered");
    }
    if (!welcome.resumed && welcome.uplink_offset !== this.start) throw violation("welcome starts where no call was");
    if (welcome.resumed && !resume) throw violation("welcome to a call nobody resumed");
    this.current = "active";
    this.nextDeadline = null;
    this.welcome = welcome;
    this.controlLimit = welcome.limits.control_record_bytes;
    const { continues: old } = this.options;
    if (old?.ended) return this.endLocally(SessionCode.NO_ERROR, "the call has ended meanwhile");
    if (welcome.resume_ticket === null) this.call.log.keepNothing();
    else this.windowUs = Math.min(this.options.resumeUs ?? 0, welcome.resume_ttl_ms * 1_000);
    if (old) {
      this.continueCall(old, welcome);
    } else {
      this.untold.push({ kind: "welcomed", welcome, lost: 0 });
      this.call.uplink.setLimits(welcome.limits);
      this.call.uplink.startFrom(welcome.uplink_offset);
    }
    this.call.uplink.keepFor(welcome.resume_ttl_ms);
    for (const take of this.early.release()) if (!this.ended) take();
  }

  private continueCall(old: ClientSession, welcome: messages.Welcome): void {
    const { events, reports, lost } = this.call.continueFrom(old.call, welcome, this.hello.resume ?? null);
    this.untold.push({ kind: "welcomed", welcome, lost });
    old.handOver();
    if (welcome.resumed) this.acknowledgeEvents();
    for (const payload of events) this.say(payload);
    for (const report of reports) this.say(messages.encodeMessage(report));
    this.call.uplink.setLimits(welcome.limits);
    this.call.uplink.attach(this, welcome.uplink_offset);
  }

  private acknowledgeEvents(): void {
    this.say(messages.encodeMessage({ type: "legato.event_ack", count: this.call.log.tell() }));
  }

  /** What the server's streams bring is looked at behind the welcome. */
  private whenWelcome(bytes: number, take: () => void): void {
    if (this.current !== "connecting") return take();
    this.early.keep(bytes, take);
  }

  // What inputs and operations share

  private guarded(take: () => void): void {
    if (this.ended) return;
    try {
      take();
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.endLocally(error.code, error.reason);
    }
  }

  private openStream(bidirectional: boolean): number {
    const key = this.nextKey--;
    this.undone.push({ kind: "open", key, bidirectional });
    return key;
  }

  private say(payload: Uint8Array): void {
    if (this.ended || !this.connected) return;
    this.undone.push({ kind: "send", key: this.controlKey, data: controlRecord(payload), fin: false });
  }

  private endLocally(code: number, reason: string): void {
    if (this.ended) return;
    const short = cut(reason);
    this.undone.push({ kind: "close", code, reason: short });
    this.end("local", code, short);
  }

  private end(by: Party, code: number, reason: string): void {
    if (this.ended) return;
    this.current = "closed";
    this.nextDeadline = null;
    this.untold.push({ kind: "sessionEnded", by, code, reason });
    this.downlink.clear();
    this.early.release();
  }
}

function violation(reason: string): RemoteProtocolError {
  return new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
}
