// Whether somebody may have begun to speak, judged by loudness alone: quick and easily wrong. Sans-IO.
//
// It asks for attention (the reply ducks), it does not decide: the server's own detector does. The floor follows the
// quietest of what is heard, down at once and up slowly, so that a fan is soon no speech. Echo cancellation comes first.

const WINDOW_S = 0.01;
/** Above the floor, and above what a silent room with a bad microphone gives. */
const ONSET_DB = 12;
const LOUD_ENOUGH_DB = -50;
/** A click is over sooner. */
const ONSET_WINDOWS = 3;
/** Below this above the floor, for this long, speech is over. */
const REST_DB = 6;
const REST_WINDOWS = 30;
const RISE_DB_PER_S = 3;
const FLOOR_DB = -90;

export class SpeechDetector {
  speaking = false;
  private readonly window: number;
  private sum = 0;
  private count = 0;
  private floor = LOUD_ENOUGH_DB;
  private windows = 0;

  constructor(rate: number) {
    this.window = Math.round(rate * WINDOW_S);
  }

  /** Take samples between -1 and 1; returns whether `speaking` changed. */
  take(samples: Float32Array): boolean {
    const before = this.speaking;
    for (const sample of samples) {
      this.sum += sample * sample;
      this.count += 1;
      if (this.count === this.window) this.judge();
    }
    return this.speaking !== before;
  }

  private judge(): void {
    const level = Math.max(FLOOR_DB, 10 * Math.log10(this.sum / this.count + 1e-12));
    this.sum = this.count = 0;
    this.floor = Math.min(level, this.floor + RISE_DB_PER_S * WINDOW_S);
    const loud = level > Math.max(this.floor + ONSET_DB, LOUD_ENOUGH_DB);
    const quiet = level < Math.max(this.floor + REST_DB, LOUD_ENOUGH_DB);
    if (this.speaking ? !quiet : !loud) this.windows = 0;
    else this.windows += 1;
    if (this.windows < (this.speaking ? REST_WINDOWS : ONSET_WINDOWS)) return;
    this.speaking = !this.speaking;
    this.windows = 0;
  }
}
