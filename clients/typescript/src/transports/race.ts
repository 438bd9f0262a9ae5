// WebTransport against WebSocket: the first that is ready carries the call.
//
// Owns who starts when and who is given up. Browsers take 4 s (Chromium) to 30 s (Firefox) to find that UDP goes
// nowhere, so nobody waits for them here. Must not know what is sent afterwards.

import type { Attempt, Transport } from "./base.ts";

export interface RaceSettings {
  /** Null leaves one of them out. */
  webtransport: (() => Attempt) | null;
  websocket: (() => Attempt) | null;
  /** How much later the WebSocket starts, unless WebTransport has failed before. */
  headStartMs: number;
  /** When WebTransport is given up. */
  hardStopMs: number;
  /** When everything is given up. */
  patienceMs: number;
}

export interface Winner {
  transport: Transport;
  /** Why WebTransport is not the one; null if it is, or took no part. */
  lost: string | null;
}

/** None was ready; what each of them said, null for one that took no part. */
export class RaceLost extends Error {
  override readonly name = "RaceLost";

  constructor(
    readonly webtransport: string | null,
    readonly websocket: string | null,
  ) {
    super([webtransport && `WebTransport: ${webtransport}`, websocket && `WebSocket: ${websocket}`].filter(Boolean).join("; "));
  }
}

/** Run it. Whoever comes second, or comes after `signal` aborts, is abandoned. */
export function race(settings: RaceSettings, signal?: AbortSignal): Promise<Winner> {
  return new Promise((resolve, reject) => new Race(settings, resolve, reject).start(signal));
}

type Runner = { state: "absent" | "waiting" | "running" | "failed"; fault: string | null; attempt: Attempt | null };

class Race {
  private readonly webtransport: Runner = { state: "absent", fault: null, attempt: null };
  private readonly websocket: Runner = { state: "absent", fault: null, attempt: null };
  private readonly timers: ReturnType<typeof setTimeout>[] = [];
  private over = false;

  constructor(
    private readonly settings: RaceSettings,
    private readonly resolve: (winner: Winner) => void,
    private readonly reject: (error: Error) => void,
  ) {}

  start(signal?: AbortSignal): void {
    const { webtransport, websocket, headStartMs, hardStopMs, patienceMs } = this.settings;
    const giveUp = (reason: string): void => {
      this.fail(this.websocket, reason);
      this.fail(this.webtransport, reason);
      this.lose();
    };
    if (webtransport) this.webtransport.state = "waiting";
    if (websocket) this.websocket.state = "waiting";
    this.later(() => giveUp(`no answer within ${patienceMs} ms`), patienceMs);
    signal?.addEventListener("abort", () => giveUp("given up"));
    if (webtransport) {
      this.run(this.webtransport, webtransport);
      this.later(() => this.fail(this.webtransport, `no answer within ${hardStopMs} ms`), hardStopMs);
      this.later(() => this.runWebSocket(), headStartMs);
    } else {
      this.runWebSocket();
    }
    this.lose();
  }

  private runWebSocket(): void {
    const { websocket } = this.settings;
    if (websocket && this.websocket.state === "waiting") this.run(this.websocket, websocket);
  }

  private run(runner: Runner, start: () => Attempt): void {
    runner.state = "running";
    try {
      runner.attempt = start();
    } catch (error) {
      this.fail(runner, (error as Error).message);
      return;
    }
    const { attempt } = runner;
    attempt.ready.then(
      (transport) => (this.over || runner.state === "failed" ? attempt.abandon() : this.win(transport)),
      (error: Error) => this.fail(runner, error.message || "it failed without a reason"),
    );
  }

  private win(transport: Transport): void {
    this.finish();
    const other = transport.name === "webtransport" ? this.websocket : this.webtransport;
    if (other.state === "running") other.attempt?.abandon();
    const late = this.webtransport.state === "running" ? "the WebSocket was ready first" : null;
    this.resolve({ transport, lost: transport.name === "webtransport" ? null : (this.webtransport.fault ?? late) });
  }

  private fail(runner: Runner, fault: string): void {
    if (this.over || runner.state === "absent" || runner.state === "failed") return;
    if (runner.state === "running") runner.attempt?.abandon();
    runner.state = "failed";
    runner.fault = fault;
    if (runner === this.webtransport) this.runWebSocket();
    this.lose();
  }

  private lose(): void {
    const lost = [this.webtransport, this.websocket].every(({ state }) => state === "failed" || state === "absent");
    if (this.over || !lost) return;
    this.finish();
    this.reject(new RaceLost(this.webtransport.fault, this.websocket.fault));
  }

  private finish(): void {
    this.over = true;
    this.timers.forEach(clearTimeout);
  }

  private later(act: () => void, ms: number): void {
    if (!this.over) this.timers.push(setTimeout(act, ms));
  }
}
