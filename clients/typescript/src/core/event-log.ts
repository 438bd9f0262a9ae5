// Counted events: what makes them arrive once and in order over any number of connections (SPEC 17).
//
// Owns the events said and not acknowledged, and the count of those taken. Must not know connections or what an event
// means.

import { RemoteProtocolError } from "../errors.ts";
import { EVENT_ACK_BYTES, EVENT_ACK_EVENTS, KEPT_EVENT_BYTES, OVERHEAD_BYTES, SessionCode } from "../wire/codes.ts";

export class EventLog {
  said = 0;
  acked = 0;
  taken = 0;
  /** Whether what is said is kept: without a resume there is no use in that. */
  keeps = true;
  private readonly kept: Uint8Array[] = [];
  private bytes = 0;
  private needed: number | null = null;
  private told = 0;
  private untoldBytes = 0;

  /** Memory held, overhead included. */
  get keptBytes(): number {
    return this.bytes;
  }

  /** Count an event said, whether or not there is a connection to say it on; the oldest goes when there are too many. */
  say(payload: Uint8Array): void {
    this.said += 1;
    if (!this.keeps) return;
    this.kept.push(payload);
    this.bytes += OVERHEAD_BYTES + payload.length;
    while (this.bytes > KEPT_EVENT_BYTES) this.drop();
  }

  /** This call cannot be resumed. */
  keepNothing(): void {
    this.keeps = false;
    this.kept.length = 0;
    this.bytes = 0;
  }

  /** How many events were said before the first that is kept. */
  get oldest(): number {
    return this.said - this.kept.length;
  }

  /**
   * Keep what was said behind the first `count` events, acknowledged or not: another server may want it. Throws
   * RemoteProtocolError if fewer were said.
   */
  neededFrom(count: number): void {
    this.check(count);
    this.needed = count;
    this.letGo();
  }

  /** The server has taken so many events; throws RemoteProtocolError if that are more than were said. */
  acknowledge(count: number): void {
    this.check(count);
    this.acked = Math.max(this.acked, count);
    this.letGo();
  }

  /** The events behind the first `count`, which are acknowledged by that. */
  after(count: number): Uint8Array[] {
    this.acknowledge(count);
    return this.kept.slice(Math.max(0, count - this.oldest));
  }

  /** Count an event of the server, of so many bytes; returns whether it is time to acknowledge. */
  take(size: number): boolean {
    this.taken += 1;
    this.untoldBytes += size;
    return this.taken - this.told >= EVENT_ACK_EVENTS || this.untoldBytes >= EVENT_ACK_BYTES;
  }

  /** The number to acknowledge now. */
  tell(): number {
    this.told = this.taken;
    this.untoldBytes = 0;
    return this.taken;
  }

  private check(count: number): void {
    if (count <= this.said) return;
    const reason = `acknowledged ${count} events of ${this.said} said`;
    throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, reason);
  }

  private letGo(): void {
    const done = this.needed === null ? this.acked : Math.min(this.acked, this.needed);
    while (this.kept.length && this.oldest < done) this.drop();
  }

  private drop(): void {
    this.bytes -= OVERHEAD_BYTES + this.kept.shift()!.length;
  }
}
