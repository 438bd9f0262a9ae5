// Which words of a reply have been heard. Owns the arithmetic between text and sound; must not know events or players.
//
// The words of a reply come in pieces, each as its sound is about to be delivered. So a piece begins about where the
// audio ended that had arrived when it came; within a piece, sound is taken to be even. The server counts the same way,
// with the exact beginnings.

/** No piece is spoken faster than that, whatever the network did to the order of words and sound. */
const FASTEST_MS_PER_CHARACTER = 45;

interface Piece {
  readonly text: string;
  readonly startMs: number;
}

export class Spoken {
  private readonly pieces: Piece[] = [];
  private received = 0;
  private heard = 0;
  /** Nothing more of it will arrive. */
  private whole = false;

  get text(): string {
    return this.pieces.map(({ text }) => text).join("");
  }

  get heardMs(): number {
    return this.heard;
  }

  /** Words that follow; their sound follows what has arrived so far. */
  say(text: string): void {
    if (!text) return;
    const before = this.pieces.at(-1);
    const earliest = before ? before.startMs + before.text.length * FASTEST_MS_PER_CHARACTER : 0;
    this.pieces.push({ text, startMs: before ? Math.max(this.received, earliest) : 0 });
  }

  /** So much of its audio has arrived. */
  arrived(ms: number): void {
    this.received = Math.max(this.received, ms);
  }

  /** So much of it has been heard: never less than before. */
  listened(ms: number): void {
    this.heard = Math.max(this.heard, ms);
    this.arrived(ms);
  }

  /** It was played to its end, all of it. */
  finish(): void {
    this.whole = true;
  }

  /** Characters from the beginning of `text` that have been heard, up to a word's end. */
  get heardCharacters(): number {
    if (this.whole) return this.text.length;
    let count = 0;
    for (const [at, { text, startMs }] of this.pieces.entries()) {
      if (startMs >= this.heard) break;
      const next = this.pieces[at + 1]?.startMs ?? Math.max(this.received, startMs + text.length * FASTEST_MS_PER_CHARACTER);
      count += wordsIn(text, (this.heard - startMs) / Math.max(1, next - startMs));
    }
    return count;
  }
}

/** Characters up to the end of the last word of which this share of a text has passed. */
function wordsIn(text: string, share: number): number {
  const ends = [...text.matchAll(/\S+/g)].map((word) => word.index + word[0].length);
  const passed = Math.min(ends.length, Math.floor(ends.length * share));
  return passed ? ends[passed - 1]! : 0;
}
