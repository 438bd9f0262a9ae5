// Barge-in in two phases: quiet at the first suspicion, then the server's word. Sans-IO.
//
// Owns whether the player is held. A flush is the server's yes, `legato.unduck` its no; a server that says neither is
// taken to mean no when the sound is over, and in any case after a while.
//
//     free ──speech while a reply sounds──► held ──flush · unduck · rest · patience──► free
//
// After patience or an unduck the same sound does not hold it again: a detector tells of a beginning once.

/** How long after the sound has ended a flush may still come: detection and a round trip. */
const REST_US = 400_000;
const PATIENCE_US = 2_000_000;

export class BargeIn {
  held = false;
  private until = 0;

  /** The detector says that somebody may have begun to speak, or has stopped. Returns whether `held` changed. */
  speech(speaking: boolean, audible: boolean, now: number): boolean {
    if (this.held && !speaking) this.until = Math.min(this.until, now + REST_US);
    if (this.held || !speaking || !audible) return false;
    this.until = now + PATIENCE_US;
    return this.move(true);
  }

  /** The server has decided, either way. */
  decided(): boolean {
    return this.move(false);
  }

  /** Time has passed. */
  tick(now: number): boolean {
    return this.held && now >= this.until && this.move(false);
  }

  private move(held: boolean): boolean {
    const changed = this.held !== held;
    this.held = held;
    return changed;
  }
}
