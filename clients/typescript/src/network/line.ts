// A call's line: one connection after the other, for one call.
//
// Owns which connection is at work, and when another one is opened beside it. Must not know audio, nor what the events
// of a session mean beyond its beginning and its end.
//
// Make before break: while a path is only doubted, its connection goes on until the next one is welcomed, and if it
// recovers before the next one stands, that is given up; a doubt that lasts is told as a loss. A lost connection is replaced for as long as the server's window
// lasts. A server that says that it stops is left in the same way, at a pause of the conversation; and so is a WebSocket,
// when WebTransport gets through again.
//
//     connecting ──welcome──► sound ◄──recovered · welcome──► doubted
//         ▲   │                 ▲                                │
//         └───┘ once without    └──welcome── lost ◄──closed──────┘          (any) ──over──► closed
//           WebTransport: the first packets of UDP may pass where others do not; and once when the hello came too late

import { ClientSession, CLIENT_LIMITS } from "../core/client-session.ts";
import type { Event } from "../core/outputs.ts";
import type { Piece } from "../core/uplink-sender.ts";
import { UPLINK_SETTINGS } from "../core/uplink-sender.ts";
import { race, type Winner } from "../transports/race.ts";
import { SessionCode } from "../wire/codes.ts";
import type { Hello, Welcome } from "../wire/messages.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { CallHost } from "./host.ts";
import type { LineOwner } from "./line-owner.ts";
import { Search } from "./search.ts";
import { SessionDriver } from "./session-driver.ts";
import type { CallSettings, PathState } from "./threads.ts";
import { WayBack } from "./way-back.ts";

/** The least time a server has for its welcome, however long the connection took. */
const WELCOME_MS = 1_500;
/** How long a connection may take before another one is tried: longer each time, for slow networks. */
const FIRST_TRY_MS = 2_000;
const LONGEST_TRY_MS = 8_000;
/** Between a connection that failed at once and the next; longer each time. */
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 3_000;
/** The same while a server that has said that it stops is still there: until then it is the only one, perhaps. */
const LEAVING_PAUSE_MS = 1_000;
/** How long before a server stops its callers leave it at the latest, pause or not. */
const LEAVING_US = 2_000_000;
/** After so many attempts, WebTransport takes part in every third only: Chromium delays connections after failures. */
const TRIES_WITH_WEBTRANSPORT = 3;
/** How late a server may hear of a connection that was given up, and go over to it from the one that it has taken since. */
const STRAY_US = 10_000_000;
/** Refusals that are of this caller, and those that tell how the call has ended; after any other it is worth asking again. */
const FOR_GOOD: readonly number[] = [
  ...[SessionCode.PROTOCOL_VIOLATION, SessionCode.UNSUPPORTED_VERSION, SessionCode.UNSUPPORTED_FORMAT],
  ...[SessionCode.UNAUTHORIZED, SessionCode.LIMIT_EXCEEDED],
];
const ENDS: readonly number[] = [SessionCode.NO_ERROR, SessionCode.AGENT_ERROR];

type Welcomed = Extract<Event, { kind: "welcomed" }>;
type SessionEnded = Extract<Event, { kind: "sessionEnded" }>;

export class Line {
  readonly heartbeat = new Heartbeat();
  /** At work; null before the first connection. */
  driver: SessionDriver | null = null;
  welcome: Welcome | null = null;
  /** How often another connection went on with the call. */
  resumes = 0;
  hashes: readonly Uint8Array<ArrayBuffer>[];
  private readonly control = new AbortController();
  private readonly startedUs: number;
  private attempt: SessionDriver | null = null;
  private taken: (welcomed: boolean) => void = () => {};
  private webtransportLost: string | null = null;
  /** The server was kept waiting for the hello, until the page had its token, and did not wait so long. */
  private kept = false;
  private search: Search | null = null;
  private tries = 0;
  /** Whether the server may have taken up the call on a connection that has not been welcomed. */
  private asked = false;
  /** When a connection was last given up that had said hello. */
  private gaveUpUs = -Infinity;
  private readonly wayBack = new WayBack();
  /** When the server, which will stop, is left at the latest. */
  private leaveUs: number | null = null;
  private leaving = false;
  private state: PathState = "sound";
  private receivedBefore = 0;
  private receivedEarlier = 0;
  /** The server takes no other connection of this caller: the one at work is the last. */
  private refusal: SessionEnded | null = null;
  private over = false;

  constructor(
    private readonly settings: CallSettings,
    private readonly host: CallHost,
    private readonly owner: LineOwner,
  ) {
    this.startedUs = host.now();
    this.hashes = settings.certificateHashes;
  }

  /** Bytes of streams, over all connections. */
  get received(): number {
    return this.receivedEarlier + (this.driver?.received ?? 0);
  }

  /** Whether WebTransport is tried again, for a call that goes without. */
  get retriesWebTransport(): boolean {
    const without = this.driver?.transport.name === "websocket" && this.settings.webtransportUrl !== null;
    return without && this.leaveUs === null && this.replaceable;
  }

  /** Whether another connection could take the place of the one at work. */
  private get replaceable(): boolean {
    return !this.refusal && this.driver !== null && this.driver.session.resumable;
  }

  /** Make the first connection; `prepared` is what has to be known before the hello. */
  connect(prepared: Promise<unknown>): void {
    this.dial(!this.settings.webtransportLater, [], prepared).catch((error: unknown) => this.owner.failedToConnect(error));
  }

  /** Time has passed. */
  tick(now: number): void {
    const { driver } = this;
    if (!this.welcome || !driver || this.over || driver.session.state === "parked") return;
    if (driver.received !== this.receivedBefore) this.heartbeat.alive(now);
    this.receivedBefore = driver.received;
    const sequence = this.heartbeat.beat(now);
    if (sequence !== null) driver.session.sendHeartbeat(sequence);
    driver.settle();
    if (this.leaveUs !== null && (this.owner.pausing() || now >= this.leaveUs)) {
      this.leaveUs = null;
      this.leaving = true;
    }
    const doubted = this.heartbeat.suspicious(now, driver.session.acked, driver.session.captured);
    // Firefox takes half a minute to say of a server that is gone that it is.
    const lost = this.heartbeat.hopeless(now) && this.replaceable;
    this.move(lost ? "lost" : doubted ? "doubted" : "sound");
    if (doubted || this.leaving) {
      this.reconnect();
    } else {
      // An attempt that has said hello is let be: its server may have left this connection already.
      if (!this.attempt && !this.search?.better) this.search?.control.abort();
      this.goBack(now);
    }
  }

  /** The network may have changed (`moved`), or the page was asleep. */
  doubt(moved: boolean): void {
    if (moved) this.wayBack.moved(this.host.now());
    this.heartbeat.hurry();
    this.search?.hurry();
    this.tick(this.host.now());
  }

  /** End the session, and the call with it; returns false if there is none yet. */
  close(code: number, reason: string): boolean {
    // A server that has taken it up already knows no other connection.
    this.attempt?.session.close(code, reason);
    this.attempt?.settle();
    if (!this.driver) return false;
    this.driver.session.close(code, reason);
    this.driver.settle();
    return true;
  }

  /** The call is over: whoever still connects finds that it is, and closes what it got. */
  stop(): void {
    this.over = true;
    this.control.abort();
    this.search?.control.abort();
  }

  // The first connection

  private async dial(withWebTransport: boolean, carried: readonly Piece[], prepared: Promise<unknown>): Promise<void> {
    const { hardStopMs, patienceMs } = this.settings;
    const racing = this.race([withWebTransport, true], hardStopMs, patienceMs, this.control.signal);
    const [winner] = await Promise.all([racing, prepared]);
    if (this.over) return winner.transport.close(SessionCode.NO_ERROR, "hung up");
    this.webtransportLost ??= winner.lost;
    this.begin(winner, carried);
  }

  /** `who` takes part: WebTransport, the WebSocket. */
  private race(who: [boolean, boolean], hardStopMs: number, patienceMs: number, signal: AbortSignal): Promise<Winner> {
    const { webtransportUrl, websocketUrl, headStartMs } = this.settings;
    const webtransport = who[0] && webtransportUrl ? () => this.host.webtransport(webtransportUrl, this.hashes) : null;
    const websocket = who[1] && websocketUrl ? () => this.host.websocket(websocketUrl) : null;
    return race({ webtransport, websocket, headStartMs, hardStopMs, patienceMs }, signal);
  }

  private begin({ transport }: Winner, carried: readonly Piece[]): void {
    const now = this.host.now();
    const elsewhere = transport.name === "webtransport" && this.settings.websocketUrl !== null;
    const left = this.settings.hardStopMs - (now - this.startedUs) / 1_000;
    const patienceMs = elsewhere ? Math.max(WELCOME_MS, Math.round(left)) : this.settings.patienceMs;
    const session = this.session(this.owner.hello(), patienceMs, { carried });
    const driver = new SessionDriver(session, transport, () => this.host.now(), (event) => this.reactTo(driver, null, event));
    this.driver = driver;
    this.owner.attach(session);
    driver.start();
    if (!this.over) this.owner.connected({ transport, lost: this.webtransportLost });
  }

  private session(hello: Hello, patienceMs: number, from: { carried?: readonly Piece[]; continues?: ClientSession }): ClientSession {
    const limits = { ...CLIENT_LIMITS, hello_ms: patienceMs };
    const uplink = { ...UPLINK_SETTINGS, groupUs: this.settings.groupMs * 1_000 };
    return new ClientSession(hello, this.host.now(), { limits, uplink, resumeUs: this.settings.resumeMs * 1_000, ...from });
  }

  private reactToCurrent(event: Event): void {
    switch (event.kind) {
      case "welcomed":
        this.welcome = event.welcome;
        this.heartbeat.alive(this.host.now());
        this.wayBack.carried(this.driver!.transport.name, this.host.now());
        return this.owner.welcomed(event.welcome);
      case "draining":
        if (this.driver!.session.carries) this.leaveUs = this.host.now() + Math.max(0, event.inMs * 1_000 - LEAVING_US);
        return this.owner.react(event);
      case "connectionLost":
        return this.connectionLost(event.code, event.by, event.reason);
      case "heartbeatReturned":
        return this.heartbeat.echoed(event.sequence, this.host.now());
      case "sessionEnded":
        return this.sessionEnded(event);
      default:
        this.owner.react(event);
    }
  }

  private sessionEnded(event: SessionEnded): void {
    const overUdp = this.driver!.transport.name === "webtransport";
    const silence = event.code === SessionCode.HELLO_TIMEOUT;
    const unheard = event.by === "transport" || (event.by === "local" && silence);
    if (!this.welcome && unheard && overUdp && this.settings.websocketUrl) {
      this.webtransportLost = event.reason;
      this.redial(false);
    } else if (!this.welcome && event.by === "peer" && silence && !this.kept) {
      this.kept = true;
      this.redial(overUdp);
    } else {
      this.owner.react(event);
    }
  }

  private redial(withWebTransport: boolean): void {
    const { carried } = this.driver!.session;
    this.driver = null;
    this.owner.attach(null);
    this.dial(withWebTransport, carried, Promise.resolve()).catch((error: unknown) => this.owner.failedToConnect(error));
  }

  // Every other connection

  private connectionLost(code: number, by: SessionEnded["by"], reason: string): void {
    const ours = this.asked || this.host.now() - this.gaveUpUs < STRAY_US;
    if (code === SessionCode.REPLACED && !ours) {
      // None of ours: another client has come with our ticket.
      this.driver!.closed(by, code, reason);
    } else if (this.refusal) {
      this.driver!.closed(this.refusal.by, this.refusal.code, this.refusal.reason);
    } else {
      // A server that has gone over to another connection of ours is about to say welcome there.
      if (code !== SessionCode.REPLACED || !this.attempt) this.move("lost");
      this.search?.hurry();
      this.reconnect();
    }
  }

  private reconnect(): void {
    // That there is a connection comes before that it is a better one.
    if (this.search?.better && !this.attempt) this.search.control.abort();
    if (this.search || this.over || !this.replaceable) return;
    this.look(false, (search) => this.tryUntilTaken(search));
  }

  /** Try WebTransport again where a WebSocket carries the call, at a quiet moment. */
  private goBack(now: number): void {
    if (this.search || !this.retriesWebTransport || !this.wayBack.due(now, this.owner.quiet())) return;
    this.wayBack.tried(now);
    this.look(true, ({ control }) => this.connectBeside([true, false], this.settings.hardStopMs, control.signal));
  }

  private look(better: boolean, work: (search: Search) => Promise<unknown>): void {
    const search = new Search(better);
    this.search = search;
    void work(search).finally(() => {
      if (this.search === search) this.search = null;
      // It was given up for a path that has recovered, which may have been lost meanwhile.
      if (this.driver?.session.state !== "parked") return;
      this.move("lost");
      this.reconnect();
    });
  }

  private async tryUntilTaken(search: Search): Promise<void> {
    let [patience, rest] = [FIRST_TRY_MS, this.leaving ? LEAVING_PAUSE_MS : PAUSE_MS];
    while (!search.control.signal.aborted && !(await this.try(patience, search.control.signal))) {
      patience = Math.min(patience * 1.5, LONGEST_TRY_MS);
      void this.owner.lookUp();
      await search.pause(rest);
      rest = Math.min(rest * 1.5, LONGEST_PAUSE_MS);
    }
  }

  private try(patienceMs: number, signal: AbortSignal): Promise<boolean> {
    this.tries += 1;
    const udp = this.tries <= TRIES_WITH_WEBTRANSPORT || this.tries % TRIES_WITH_WEBTRANSPORT === 0 || !this.settings.websocketUrl;
    return this.connectBeside([udp, true], patienceMs, signal);
  }

  /** Returns whether the server has taken up the call on another connection. */
  private async connectBeside(who: [boolean, boolean], patienceMs: number, signal: AbortSignal): Promise<boolean> {
    const attempt = new AbortController();
    const giveUp = (): void => attempt.abort();
    const timer = setTimeout(giveUp, patienceMs);
    signal.addEventListener("abort", giveUp);
    try {
      const winner = await this.race(who, patienceMs, patienceMs, attempt.signal);
      return await this.resume(winner, patienceMs, attempt.signal);
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    }
  }

  private resume({ transport, lost }: Winner, patienceMs: number, signal: AbortSignal): Promise<boolean> {
    const old = this.driver!.session;
    const request = signal.aborted || this.over ? null : old.resumeRequest();
    if (!request) {
      transport.close(SessionCode.REPLACED, "not needed any more");
      return Promise.resolve(false);
    }
    return new Promise((resolve) => {
      const session = this.session({ ...old.hello, resume: request }, patienceMs, { continues: old });
      const driver = new SessionDriver(session, transport, () => this.host.now(), (event) => this.reactTo(driver, lost, event));
      const finish = (welcomed: boolean): void => {
        signal.removeEventListener("abort", giveUp);
        if (this.attempt === driver) this.attempt = null;
        resolve(welcomed);
      };
      const giveUp = (): void => {
        this.gaveUpUs = this.host.now();
        session.handOver();
        driver.settle();
        finish(false);
      };
      this.attempt = driver;
      this.asked = true;
      this.taken = finish;
      signal.addEventListener("abort", giveUp);
      driver.start();
    });
  }

  private reactTo(driver: SessionDriver, lost: string | null, event: Event): void {
    if (event.kind === "welcomed" && driver === this.attempt) this.take(driver, lost, event);
    else if (driver === this.driver) this.reactToCurrent(event);
    else if (driver !== this.attempt) return;
    else if (event.kind === "sessionEnded") this.refused(event);
    else this.owner.react(event);
  }

  /** The next connection is welcomed: the call goes on over it. */
  private take(driver: SessionDriver, lost: string | null, { welcome, lost: samples }: Welcomed): void {
    const now = this.host.now();
    const silentUs = now - this.heartbeat.heard;
    const before = this.driver!;
    this.driver = driver;
    this.welcome = welcome;
    this.receivedBefore = 0;
    this.receivedEarlier += before.received;
    this.tries = 0;
    this.asked = false;
    this.wayBack.carried(driver.transport.name, now);
    this.leaveUs = null;
    this.leaving = false;
    this.resumes += 1;
    this.heartbeat.moved(now);
    this.taken(true);
    this.owner.attach(driver.session);
    // It ends, and nobody is told.
    before.settle();
    this.owner.resumed({ continued: welcome.resumed, silentUs, lost: samples, webtransportLost: lost }, welcome);
    this.move("sound");
  }

  private refused(refusal: SessionEnded): void {
    const { by, code, reason } = refusal;
    this.taken(false);
    const ends = ENDS.includes(code);
    if (by !== "peer" || !(ends || FOR_GOOD.includes(code))) return;
    // A caller whose token has expired loses nothing by it as long as the first connection recovers.
    if (ends || this.driver!.session.state === "parked") return this.driver!.closed(by, code, reason);
    this.refusal = refusal;
    this.search?.control.abort();
  }

  private move(state: PathState): void {
    if (state === this.state || this.over) return;
    this.state = state;
    this.owner.path(state);
  }
}
