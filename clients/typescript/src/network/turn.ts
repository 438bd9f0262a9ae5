// Whose turn it is, as far as the server's events tell. Sans-IO. Must not know sounds or connections.

const BEGINS: Readonly<Record<string, string>> = { "input_audio_buffer.speech_started": "speech", "response.created": "response" };
const ENDS: Readonly<Record<string, string>> = { "input_audio_buffer.speech_stopped": "speech", "response.done": "response" };

export class Turn {
  private readonly busy = new Set<string>();

  /** Whether nobody speaks, and nothing is being answered. */
  get pausing(): boolean {
    return this.busy.size === 0;
  }

  /** Whether somebody speaks. */
  get spoken(): boolean {
    return this.busy.has("speech");
  }

  /** Take the type of an event of the server's. */
  take(type: string): void {
    const [begun, ended] = [BEGINS[type], ENDS[type]];
    if (begun) this.busy.add(begun);
    if (ended) this.busy.delete(ended);
  }

  /** Another server has the call: what was begun elsewhere has no end here. */
  restart(): void {
    this.busy.clear();
  }
}
