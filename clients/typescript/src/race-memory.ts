// What became of earlier races to a host, so that who lost is not waited for again. Must not run any race.

import type { TransportName } from "./transports/base.ts";
import type { RaceOdds } from "./settings.ts";

/** How long a defeat of WebTransport counts: networks change. */
const REMEMBERED_MS = 600_000;
/** Chromium delays connections after failures, by more than a minute after fourteen of them. */
const FAILURES_MAX = 3;
const HEAD_START_MS = 300;
const HEAD_START_OF_WINNERS_MS = 500;

/** What is used of the browser's `localStorage`. */
export type Storage = Pick<globalThis.Storage, "getItem" | "setItem">;

export class RaceMemory {
  private readonly failures = new Map<string, number>();

  constructor(
    private readonly storage: Storage | null,
    private readonly now: () => number = Date.now,
  ) {}

  /** What to expect at `host`. */
  odds(host: string): RaceOdds {
    const { winner, at } = this.last(host);
    const recent = this.now() - at < REMEMBERED_MS;
    const hopeless = (this.failures.get(host) ?? 0) >= FAILURES_MAX;
    return {
      webtransport: !hopeless && !(recent && winner === "websocket"),
      headStartMs: recent && winner === "webtransport" ? HEAD_START_OF_WINNERS_MS : HEAD_START_MS,
    };
  }

  /** Note who won; `lost` says whether WebTransport tried and failed. */
  note(host: string, winner: TransportName, lost: boolean): void {
    if (winner === "websocket" && !lost) return;
    if (lost) this.failures.set(host, (this.failures.get(host) ?? 0) + 1);
    else this.failures.delete(host);
    try {
      this.storage?.setItem(key(host), JSON.stringify({ winner, at: this.now() }));
    } catch {
      // A full or forbidden storage remembers nothing.
    }
  }

  private last(host: string): { winner: unknown; at: number } {
    try {
      const { winner, at } = JSON.parse(this.storage?.getItem(key(host)) ?? "{}") as { winner?: unknown; at?: unknown };
      return { winner, at: typeof at === "number" ? at : 0 };
    } catch {
      return { winner: null, at: 0 };
    }
  }
}

function key(host: string): string {
  return `legato.race.${host}`;
}
