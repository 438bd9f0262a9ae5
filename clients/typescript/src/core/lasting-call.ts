// What of a call outlives its connections (SPEC 17): captured audio, counted events, replies, the latest checkpoint.
//
// Owns what the session that continues a call takes over from the one before. Must not know streams, nor when a session
// may be continued.

import { RemoteProtocolError } from "../errors.ts";
import { SessionCode } from "../wire/codes.ts";
import type { Checkpoint, Playback, ResumeRequest, Welcome } from "../wire/messages.ts";
import { CarriedCall } from "./carried-call.ts";
import type { Downlink } from "./downlink.ts";
import { EventLog } from "./event-log.ts";
import type { Event } from "./outputs.ts";
import type { UplinkSender } from "./uplink-sender.ts";

/** What has to be said again where a call goes on, and how many captured samples it has cost. */
export interface Continuation {
  events: Uint8Array[];
  reports: Playback[];
  lost: number;
}

export class LastingCall {
  log = new EventLog();
  private carried = new CarriedCall();
  /** Counted events that come again although they were taken. */
  private known = 0;

  constructor(
    public uplink: UplinkSender,
    private readonly downlink: Downlink,
    private readonly emit: (event: Event) => void,
  ) {}

  /** Whether another server could continue it. */
  get carries(): boolean {
    return this.carried.usable;
  }

  /** What the hello of a session that continues it says. */
  request(ticket: string): ResumeRequest {
    const checkpoint = this.carried.show(this.log);
    const { oldest } = this.uplink;
    return { ticket, uplink_offset: oldest, downlink: this.downlink.positions(), events: this.log.taken, checkpoint };
  }

  /** A newer checkpoint has come; throws RemoteProtocolError if it is ahead of what was sent. */
  remember(checkpoint: Checkpoint): void {
    this.carried.take(checkpoint, this.uplink, this.log);
  }

  /** A counted event has come; returns whether it is one that was taken before. */
  again(): boolean {
    if (this.known === 0) return false;
    this.known -= 1;
    return true;
  }

  /**
   * Take over from the session before: the ring and, if the server goes on, all that is unfinished. Throws
   * RemoteProtocolError for a welcome that wants what is not to be had.
   */
  continueFrom(old: LastingCall, welcome: Welcome, request: ResumeRequest | null): Continuation {
    const { uplink } = old;
    const offset = welcome.uplink_offset;
    const goesOn = welcome.resumed && !welcome.rebuilt;
    if (offset < (goesOn ? uplink.acked : 0) || offset > uplink.captured) {
      const reason = `welcome wants audio from ${offset}, which is not to be had`;
      throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
    }
    const lost = Math.max(0, uplink.oldest - (welcome.resumed ? offset : uplink.acked));
    const again = welcome.resumed && request ? this.goOn(old, welcome, request) : this.beginAnew(old);
    this.uplink = uplink;
    return { ...again, lost };
  }

  private goOn(old: LastingCall, welcome: Welcome, request: ResumeRequest): Pick<Continuation, "events" | "reports"> {
    const events = old.log.after(welcome.events);
    const { keeps } = this.log;
    this.log = old.log;
    if (!keeps) this.log.keepNothing();
    // The old connection may have brought more since the hello was said.
    this.known = this.log.taken - request.events;
    this.carried = old.carried;
    const reports = this.downlink.continueFrom(old.downlink);
    if (welcome.rebuilt) this.forgetSince(request);
    return { events, reports };
  }

  /** The server knows the call no more: of its replies nothing is played. */
  private beginAnew({ downlink }: LastingCall): Pick<Continuation, "events" | "reports"> {
    if (downlink.generation) this.emit({ kind: "flushed", first: 1, generation: downlink.generation });
    return { events: [], reports: [] };
  }

  /** Drop what the server that is gone has said and begun since the hello: this one knows nothing of it. */
  private forgetSince(request: ResumeRequest): void {
    this.known = 0;
    this.log.taken = request.events;
    const generations = request.downlink.map(({ generation }) => generation);
    const last = generations.length ? Math.max(...generations) : this.downlink.flushed;
    if (this.downlink.generation > last) this.downlink.flush(last + 1, this.downlink.generation);
  }
}
