// What became of earlier races to a host, so that who lost is not waited for again. Must not run any race.

import type { RaceOdds } from "./settings.ts";
import type { TransportName } from "./transports/base.ts";

/** How long a defeat of WebTransport counts: networks change. It doubles with each one that follows. */
const FIRST_MS = 60_000;
const LONGEST_MS = 600_000;
/** A victory is no news after that. */
const REMEMBERED_MS = 600_000;
const HEAD_START_MS = 300;
const HEAD_START_OF_WINNERS_MS = 500;

/** What is used of the browser's `localStorage`. */
export type Storage = Pick<globalThis.Storage, "getItem" | "setItem">;

interface Outcome {
  /** How often WebTransport has lost since it won. */
  losses: number;
  at: number;
}

export class RaceMemory {
  /** Where nothing can be stored, it is known to this page. */
  private readonly known = new Map<string, string>();

  constructor(
    private readonly storage: Storage | null,
    private readonly now: () => number = Date.now,
  ) {}

  /** What to expect at `host`. */
  odds(host: string): RaceOdds {
    const last = this.last(host);
    const agoMs = last ? this.now() - last.at : Infinity;
    const won = last?.losses === 0 && agoMs < REMEMBERED_MS;
    const remembered = Math.min(FIRST_MS * 2 ** ((last?.losses ?? 0) - 1), LONGEST_MS);
    return {
      lostLately: last !== null && last.losses > 0 && agoMs < remembered,
      headStartMs: won ? HEAD_START_OF_WINNERS_MS : HEAD_START_MS,
    };
  }

  /** Note who won; `lost` says whether WebTransport tried and failed. */
  note(host: string, winner: TransportName, lost: boolean): void {
    if (winner === "websocket" && !lost) return;
    const losses = lost ? (this.last(host)?.losses ?? 0) + 1 : 0;
    const outcome: Outcome = { losses, at: this.now() };
    this.known.set(key(host), JSON.stringify(outcome));
    try {
      this.storage?.setItem(key(host), JSON.stringify(outcome));
    } catch {
      // A full or forbidden storage remembers nothing.
    }
  }

  private last(host: string): Outcome | null {
    try {
      const text = this.storage?.getItem(key(host)) ?? this.known.get(key(host));
      const { losses, at } = JSON.parse(text ?? "{}") as Partial<Outcome>;
      return Number.isInteger(losses) && Number.isFinite(at) ? { losses: losses!, at: at! } : null;
    } catch {
      return null;
    }
  }
}

function key(host: string): string {
  return `legato.race.${host}`;
}
