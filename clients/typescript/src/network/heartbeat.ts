// Whether the path works, by datagrams that come back: round trip, loss, and suspicion (SPEC 12). Sans-IO.
//
// Owns the numbers and when they are due. Browsers take 6 to 30 s to notice a dead path; a caller notices after one.
//
//     trusted ◄──anything that comes──► waiting ──patience──► doubted ──proof──► trusted
//
// While a path is trusted, anything that arrives is as good a sign of life as an echo. Once it is doubted, only proof
// counts that what is said arrives: the echo of a heartbeat, or the acknowledgement of audio, that is younger than the
// doubt. At the end of an outage what the server says again comes through at once, while a browser that has lost much
// waits for seconds before it sends again: a new connection does not.

/** While audio flows, how often, and how long silence may last. */
const BUSY_US = 500_000;
const SUSPICION_US = 1_500_000;
/** How long it may last when there is a reason to doubt; longer on a path with a longer round trip. */
const HURRY_US = 500_000;
const HURRY_RTTS = 3;
/** How long doubt may last before a path is given up for lost; with what went before, as long as Chromium takes. */
const DESPAIR_US = 4_500_000;
/** While a call is parked, and answers. */
const IDLE_US = 15_000_000;
/** How long a call counts as busy after audio moved. */
const BUSY_FOR_US = 3_000_000;
const KEPT = 32;

export class Heartbeat {
  rttUs: number | null = null;
  sent = 0;
  returned = 0;
  /** When something came last. */
  heard = 0;
  private readonly flying = new Map<number, number>();
  private busyUntil = 0;
  private last: number | null = null;
  private unansweredSince: number | null = null;
  private hurried = false;
  /** Since when the path is doubted, and how much had been captured by then. */
  private doubt: { readonly since: number; readonly captured: number } | null = null;
  /** The first heartbeat whose echo says anything of the path as it is now. */
  private proving = 0;

  /** Audio moves: look more often. */
  busy(now: number): void {
    this.busyUntil = now + BUSY_FOR_US;
  }

  /** There is a reason to doubt the path: look at once, and with less patience. */
  hurry(): void {
    this.last = null;
    this.unansweredSince = null;
    this.hurried = true;
    this.proving = this.sent;
  }

  /** The number of the heartbeat to send now, null if none is due. */
  beat(now: number): number | null {
    const often = now < this.busyUntil || this.unansweredSince !== null || this.hurried || this.doubt !== null;
    if (this.last !== null && now < this.last + (often ? BUSY_US : IDLE_US)) return null;
    this.last = now;
    const sequence = this.sent;
    this.sent += 1;
    this.flying.set(sequence, now);
    if (this.flying.size > KEPT) this.flying.delete(this.flying.keys().next().value!);
    this.unansweredSince ??= now;
    return sequence;
  }

  /** A heartbeat came back. */
  echoed(sequence: number, now: number): void {
    const sentAt = this.flying.get(sequence);
    if (sentAt === undefined) return;
    this.flying.delete(sequence);
    this.returned += 1;
    const sample = now - sentAt;
    // RFC 6298's smoothing.
    this.rttUs = this.rttUs === null ? sample : Math.round(this.rttUs + (sample - this.rttUs) / 8);
    if (sequence >= this.proving) this.trust();
    this.alive(now);
  }

  /** Something arrived; it may have been under way for a while, so that a hurry and a doubt go on. */
  alive(now: number): void {
    this.heard = now;
    this.unansweredSince = null;
  }

  /** Another connection carries the call: what is under way on the old one says nothing of it. */
  moved(now: number): void {
    this.flying.clear();
    this.rttUs = null;
    this.last = null;
    this.trust();
    this.alive(now);
  }

  /** Whether the path is to be doubted, when the server has `acked` of the `captured` samples. */
  suspicious(now: number, acked = 0, captured = 0): boolean {
    if (this.doubt && acked > this.doubt.captured) this.trust();
    if (!this.doubt && this.unansweredSince !== null && now - this.unansweredSince >= this.patience) {
      this.doubt = { since: now, captured };
      this.proving = this.sent;
      this.last = null;
    }
    return this.doubt !== null;
  }

  /** Whether it has been doubted for so long that there is no hope for it. */
  hopeless(now: number): boolean {
    return this.doubt !== null && now - this.doubt.since >= DESPAIR_US;
  }

  private get patience(): number {
    const hurry = Math.min(SUSPICION_US, Math.max(HURRY_US, HURRY_RTTS * (this.rttUs ?? 0)));
    return this.hurried ? hurry : SUSPICION_US;
  }

  private trust(): void {
    this.hurried = false;
    this.doubt = null;
    this.unansweredSince = null;
  }
}
