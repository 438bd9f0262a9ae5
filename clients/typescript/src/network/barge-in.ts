// Barge-in in two phases: quiet at the first suspicion, then the server's word. Sans-IO.
//
// Owns whether the player is held. A flush of the reply that is held is the server's yes, `legato.unduck` its no; a server
// that says neither is taken to mean no when the sound is over, and in any case after a while.
//
//     free ──speech while a reply sounds──► held ──flush · unduck · rest · patience──► free
//
// After patience or an unduck the same sound does not hold it again: a detector tells of a beginning once.

/** How long after the sound has ended a flush may still come: detection and a round trip. */
const REST_US = 400_000;
const PATIENCE_US = 2_000_000;

export class BargeIn {
  /** What is held. */
  private generation: number | null = null;
  private since = 0;
  private until = 0;

  get held(): boolean {
    return this.generation !== null;
  }

  /**
   * The detector says that somebody may have begun to speak, or has stopped, while the generation `audible` sounds, if any.
   * Returns whether `held` changed.
   */
  speech(speaking: boolean, audible: number | null, now: number): boolean {
    if (this.held) {
      // Who pauses between two words has not stopped.
      this.until = speaking ? this.since + PATIENCE_US : Math.min(this.until, now + REST_US);
      return false;
    }
    if (!speaking || audible === null) return false;
    this.generation = audible;
    this.since = now;
    this.until = now + PATIENCE_US;
    return true;
  }

  /** The server has decided, either way, on these generations; returns whether `held` changed. */
  decided(first = 1, last = Infinity): boolean {
    if (this.generation === null || this.generation < first || this.generation > last) return false;
    this.generation = null;
    return true;
  }

  /** Time has passed; returns whether `held` changed. */
  tick(now: number): boolean {
    return now >= this.until && this.decided();
  }
}
