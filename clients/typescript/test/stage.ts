// A call over a lossy network, and what its page and its player were told. Must not know what is expected of either.

import { vi } from "vitest";

import { Call } from "../src/network/call.ts";
import type { CallHost } from "../src/network/host.ts";
import type { CallMessage, CallSettings, PlayerCommand } from "../src/network/threads.ts";
import type { Attempt } from "../src/transports/base.ts";
import { CALL_SETTINGS, callHost } from "./calls.ts";
import { FakePlayer } from "./fakes.ts";
import { LossyNetwork, type Link } from "./lossy-network.ts";

const PIECE = 1_600;
const PIECE_MS = 100;

export const sampleAt = (position: number): number => ((position * 7_919) % 65_536) - 32_768;

export const samples = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => sampleAt(from + at));

/** A call over a lossy network, and what its page and its player were told. */
export class Stage {
  readonly network = new LossyNetwork();
  readonly server = this.network.server;
  readonly posted: CallMessage[] = [];
  readonly player = new FakePlayer();
  readonly call: Call;
  captured = 0;
  private speaker: ReturnType<typeof setInterval> | null = null;

  constructor(settings: Partial<CallSettings> = {}, more: Partial<CallHost> = {}) {
    const webtransport = (): Attempt => this.network.attempt("webtransport");
    const websocket = (): Attempt => this.network.attempt("websocket");
    const host = { ...callHost(this.posted, { webtransport, websocket }), ...more };
    this.call = new Call({ ...CALL_SETTINGS, groupMs: 1_000, ...settings }, this.player as unknown as MessagePort, host);
  }

  /** The call has begun, and somebody speaks into it without an end. */
  async begin(): Promise<this> {
    void this.call.start();
    this.call.command({ kind: "token", token: null });
    await pass(200);
    this.speaker = setInterval(() => {
      this.call.command({ kind: "audio", pcm: Int16Array.from(samples(this.captured, PIECE)) });
      this.captured += PIECE;
    }, PIECE_MS);
    return this;
  }

  quiet(): void {
    if (this.speaker !== null) clearInterval(this.speaker);
    this.speaker = null;
  }

  said<Kind extends CallMessage["kind"]>(kind: Kind): Extract<CallMessage, { kind: Kind }>[] {
    return this.posted.filter((message): message is Extract<CallMessage, { kind: Kind }> => message.kind === kind);
  }

  paths(): string[] {
    return this.said("path").map(({ path }) => path);
  }

  /** What the player was given of each generation. */
  played(): Map<number, { samples: number[]; complete: boolean; flushed: boolean }> {
    const replies = new Map<number, { samples: number[]; complete: boolean; flushed: boolean }>();
    for (const command of this.player.sent as PlayerCommand[]) {
      if (command.kind === "begin") replies.set(command.generation, { samples: [], complete: false, flushed: false });
      if (command.kind === "audio") replies.get(command.generation)!.samples.push(...command.pcm);
      if (command.kind === "complete") replies.get(command.generation)!.complete = true;
      if (command.kind === "flush") {
        for (const [generation, reply] of replies) reply.flushed ||= command.first <= generation && generation <= command.last;
      }
    }
    return replies;
  }

  /** The newest connection that lives. */
  get link(): Link {
    return [...this.network.links].at(-1)!;
  }

  end(): void {
    this.quiet();
    this.call.command({ kind: "close" });
  }
}

export const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
