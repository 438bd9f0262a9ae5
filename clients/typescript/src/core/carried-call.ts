// What a client keeps so that another server can take its call over: the latest checkpoint and what follows (SPEC 17.1).
//
// Owns which checkpoint is shown, and how long audio and events are kept for it. Must not know what a checkpoint says.

import type { Checkpoint } from "../wire/messages.ts";
import type { EventLog } from "./event-log.ts";
import type { UplinkSender } from "./uplink-sender.ts";

export class CarriedCall {
  private latest: Checkpoint | null = null;
  private shown: Checkpoint | null = null;

  /** Whether there is one. */
  get usable(): boolean {
    return this.latest !== null;
  }

  /** A newer one has come; throws RemoteProtocolError if it is ahead of what was sent. */
  take(checkpoint: Checkpoint, uplink: UplinkSender, log: EventLog): void {
    this.latest = checkpoint;
    // What belongs to the one that was shown last is kept: its answer may be under way.
    const needed = this.shown ?? checkpoint;
    log.neededFrom(needed.events);
    uplink.neededFrom(needed.uplink_offset);
    uplink.acknowledge(checkpoint.uplink_offset);
  }

  /** The one for a hello; null if there is none, or an event behind it had to be given up. */
  show(log: EventLog): string | null {
    if (!this.latest || log.oldest > this.latest.events) return null;
    this.shown = this.latest;
    return this.latest.state;
  }
}
