// How late a loudspeaker is. Must not know what is played.

/** How often it may be asked. */
export const LATENCY_MS = 500;

/** Until it was asked, and where it says nothing: what most devices need. */
const USUAL_S = 0.04;
/** A browser says 0 until its device runs. */
const SETTLED_S = 2;

/**
 * Asks an audio context as often as `look` is called; with `once`, only a single time, when it has run for a while.
 *
 * That is for Firefox, where asking waits for the sound server: on PulseAudio, 2 of 12 pages that asked ten times a
 * second stood still for good (Firefox 153). One question in a call is what exactness is worth.
 */
export class LatencyGauge {
  private known: number | null = null;

  constructor(
    private readonly context: Pick<AudioContext, "baseLatency" | "outputLatency" | "currentTime">,
    private readonly once: boolean,
  ) {}

  /** From the worklet to the ear. */
  get seconds(): number {
    return (this.context.baseLatency || 0) + (this.known ?? USUAL_S);
  }

  look(): void {
    if (this.once && (this.known !== null || this.context.currentTime < SETTLED_S)) return;
    this.known = this.context.outputLatency || null;
  }
}

export function isGecko(): boolean {
  return /\bGecko\/\d/.test(navigator.userAgent);
}
