// When a call that goes over a WebSocket tries WebTransport again. Sans-IO.
//
// Owns the patience, which doubles with each attempt: where UDP is blocked, Chromium delays connections after failures,
// and a WebTransport that comes and goes is worse than a WebSocket. Must not know how a call is moved.

import type { TransportName } from "../transports/base.ts";

const FIRST_US = 4_000_000;
const LONGEST_US = 600_000_000;
/** How long a quiet moment is waited for: nothing is lost at any other either. */
const QUIET_US = 30_000_000;
/** WebTransport that has lasted as long is missed as if for the first time. */
const STEADY_US = 120_000_000;

export class WayBack {
  private patience = FIRST_US;
  /** When to try; null while WebTransport carries the call. */
  private next: number | null = null;
  private since: number | null = null;

  /** This carries the call from now on. */
  carried(transport: TransportName, now: number): void {
    if (transport === "webtransport") {
      this.next = null;
      this.since = now;
      return;
    }
    if (this.since !== null && now - this.since >= STEADY_US) this.patience = FIRST_US;
    this.since = null;
    this.next = now + this.patience;
  }

  /** Whether to try now; `quiet`: nobody speaks, and nothing sounds. */
  due(now: number, quiet: boolean): boolean {
    return this.next !== null && now >= this.next + (quiet ? 0 : QUIET_US);
  }

  /** It is tried now; the next time is later than the last. */
  tried(now: number): void {
    this.patience = Math.min(2 * this.patience, LONGEST_US);
    this.next = now + this.patience;
  }

  /** The browser says that the network is another one: nothing is known of it. */
  moved(now: number): void {
    this.patience = FIRST_US;
    if (this.next !== null) this.next = Math.min(this.next, now + FIRST_US);
  }
}
