// One call, from the first packet to the last, as it lives in the network worker.
//
// Owns what is said and heard, and how it ends. What bytes mean is the session's, what is heard the player's, which
// connection carries the call the line's. `host` is everything that only a browser has.
//
//     preparing ──formats, hashes, token──► connecting ──welcome──► live ──► over

import type { PlayerReport } from "../audio/playback-buffer.ts";
import type { ClientSession } from "../core/client-session.ts";
import type { Event, Party } from "../core/outputs.ts";
import { LocalProtocolError, RemoteProtocolError, type VoiceErrorCode } from "../errors.ts";
import type { Winner } from "../transports/race.ts";
import { SessionCode, WIRE_VERSION } from "../wire/codes.ts";
import { audioFormat, equal, type AudioFormat } from "../wire/formats.ts";
import type { Hello, JsonObject, Welcome } from "../wire/messages.ts";
import { BargeIn } from "./barge-in.ts";
import { discoverHashes, haveChanged, type Fetch } from "./discovery.ts";
import { failureOf, failureToConnect, lossOf } from "./ending.ts";
import type { CallHost } from "./host.ts";
import type { LineOwner, Resumption } from "./line-owner.ts";
import { Line } from "./line.ts";
import { Replies } from "./replies.ts";
import { Turn } from "./turn.ts";
import type { CallCommand, CallSettings, CapturedPiece, NetworkStatistics, PathState } from "./threads.ts";
import { Uplink } from "./uplink.ts";

const TICK_MS = 100;
/** Statistics are told at every third tick. */
const STATISTICS_TICKS = 3;
/** How long a server has to tell its certificate's hashes. */
const DISCOVERY_MS = 1_500;

export class Call implements LineOwner {
  private readonly line: Line;
  private readonly replies: Replies;
  private readonly bargeIn = new BargeIn();
  private readonly turn = new Turn();
  private readonly tokenGiven: Promise<void>;
  private giveToken!: (token: string | null) => void;
  private token: string | null = null;
  private uplink: Uplink | null = null;
  /** What has to wait until it is known which codecs the browser has. */
  private waiting: ((uplink: Uplink) => void)[] = [];
  private said: JsonObject[] = [];
  private output: AudioFormat[];
  private muted = false;
  /** By the page. */
  private ducked = false;
  private pathChanges = 0;
  private lost = 0;
  private over = false;
  private ticks = 0;
  private timer: ReturnType<typeof setInterval> | null = null;

  constructor(
    private readonly settings: CallSettings,
    player: MessagePort | null,
    private readonly host: CallHost,
  ) {
    this.output = settings.output;
    this.line = new Line(settings, host, this);
    this.tokenGiven = new Promise((resolve) => {
      this.giveToken = (token) => {
        this.token = token;
        resolve();
      };
    });
    const listener = { report: this.report.bind(this), speech: this.notice.bind(this) };
    this.replies = new Replies(player, host.post.bind(host), listener);
  }

  /** Connect; whatever comes of it is posted. */
  async start(): Promise<void> {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    try {
      await Promise.all([this.chooseFormats(), this.lookUp()]);
    } catch (error) {
      return this.failedToConnect(error);
    }
    if (!this.over) this.line.connect(this.tokenGiven);
  }

  /** Do what the main thread says. */
  command(command: CallCommand): void {
    switch (command.kind) {
      case "token":
        return this.giveToken(command.token);
      case "capture":
        command.port.onmessage = ({ data }: MessageEvent<CapturedPiece>) => this.capture(data.pcm);
        return;
      case "audio":
        return this.capture(command.pcm);
      case "event":
        return this.say(command.event);
      case "endUtterance":
        return this.whenPrepared((uplink) => void uplink.pause());
      case "commit":
        return this.whenPrepared((uplink) => void this.commit(uplink));
      case "mute":
        this.muted = command.muted;
        return this.uplink?.mute(command.muted);
      case "interrupt":
        this.replies.interrupt();
        this.goOn(this.bargeIn.decided());
        return this.say({ type: "response.cancel" });
      case "hold":
        this.ducked = command.held;
        return this.hold();
      case "tap":
        this.replies.tapped = command.wanted;
        return;
      case "doubt":
        if (command.moved) this.pathChanges += 1;
        return this.line.doubt(command.moved);
      case "close":
        return this.hangUp();
      case "start":
    }
  }

  private capture(pcm: Int16Array): void {
    if (this.over) return;
    this.line.heartbeat.busy(this.host.now());
    this.whenPrepared((uplink) => uplink.take(pcm));
  }

  private whenPrepared(act: (uplink: Uplink) => void): void {
    if (this.uplink) act(this.uplink);
    else this.waiting.push(act);
  }

  /** Somebody may have begun to speak, or has stopped. */
  private notice(speaking: boolean, at: number): void {
    const { audible } = this.replies;
    const ducks = !this.muted && this.bargeIn.speech(speaking, audible, this.host.now());
    // The player holds by itself what sounds; where that was wrong it goes on.
    if (ducks || (speaking && !this.bargeIn.held)) this.hold();
    if (!ducks) return;
    this.say({ type: "legato.duck", generation: audible });
    this.host.post({ kind: "ducked", at });
  }

  private goOn(free: boolean): void {
    if (free) this.hold();
  }

  /** The page and the detector hold each for itself. */
  private hold(): void {
    this.replies.hold(this.ducked || this.bargeIn.held);
  }

  private unduck(generation: unknown): void {
    this.goOn(typeof generation === "number" ? this.bargeIn.decided(generation, generation) : this.bargeIn.decided());
  }

  private say(event: JsonObject): void {
    if (this.over) return;
    const { driver, welcome } = this.line;
    this.line.heartbeat.busy(this.host.now());
    if (!welcome) this.said.push(event);
    if (!driver) return;
    this.sayOn(driver.session, event);
    driver.settle();
  }

  private sayOn(session: ClientSession, event: JsonObject): void {
    try {
      session.sendEvent(event);
    } catch (error) {
      if (!(error instanceof LocalProtocolError)) throw error;
      this.fail("misuse", error.message, false);
    }
  }

  private async commit(uplink: Uplink): Promise<void> {
    await uplink.pause();
    this.say({ type: "input_audio_buffer.commit", legato_audio_offset: uplink.captured });
  }

  private hangUp(): void {
    if (this.over) return;
    if (!this.line.close(SessionCode.NO_ERROR, "hung up")) this.end("local", SessionCode.NO_ERROR, "hung up");
  }

  // Before the session

  private async chooseFormats(): Promise<void> {
    const { input, output, bitrate } = this.settings;
    const encodes = input.codec !== "opus" || (await this.host.encodesOpus(input.rate, bitrate));
    const decodes = !output.some(({ codec }) => codec === "opus") || (await this.host.decodesOpus());
    if (!decodes) {
      const plain = output.map(({ codec, rate }) => audioFormat(codec === "opus" ? "pcm16" : codec, rate));
      this.output = plain.filter((format, at) => plain.findIndex((one) => equal(one, format)) === at);
    }
    if (this.over) return;
    const format = encodes ? input : audioFormat("pcm16", input.rate);
    const fail = (reason: string): void => this.breakOff(`the browser's encoder failed: ${reason}`);
    this.uplink = new Uplink(format, bitrate, () => this.host.now(), () => this.line.driver?.settle(), fail);
    this.uplink.mute(this.muted);
    for (const act of this.waiting.splice(0)) act(this.uplink);
  }

  // What the line asks for, and tells

  async lookUp(): Promise<void> {
    const { discoveryUrl, certificateHashes, hardStopMs } = this.settings;
    if (!discoveryUrl || certificateHashes.length) return;
    try {
      this.line.hashes = await discoverHashes(discoveryUrl, (at, init) => this.host.fetch(at, init), hardStopMs);
    } catch {
      // A certificate of an authority needs no hash, and any other one shows in the race.
    }
  }

  hello(): Hello {
    const { profile, leadMs, client, plays, ducks, resumeMs } = this.settings;
    return {
      ...{ type: "legato.hello", version: WIRE_VERSION, input: this.uplink!.format, output: this.output },
      ...{ dialect: "realtime", profile, lead_ms: leadMs, token: this.token, client },
      // Nobody knows what others have heard, so that only players are resumed.
      capabilities: { playback_reports: plays, local_vad: ducks, resume: plays && resumeMs > 0, checkpoints: plays && resumeMs > 0 },
    };
  }

  attach(session: ClientSession | null): void {
    this.uplink!.attach(session);
    if (session && !this.line.welcome) for (const event of this.said) this.sayOn(session, event);
  }

  connected({ transport, lost }: Winner): void {
    this.host.post({ kind: "connected", transport: transport.name, lost });
  }

  welcomed(welcome: Welcome): void {
    this.said = [];
    this.host.post({ kind: "welcome", welcome });
  }

  resumed({ continued, silentUs, lost, webtransportLost }: Resumption, welcome: Welcome): void {
    if (!continued) this.replies.restart();
    if (!continued || welcome.rebuilt) {
      this.turn.restart();
      this.goOn(this.bargeIn.decided());
    }
    this.lost += lost;
    this.line.heartbeat.busy(this.host.now());
    const times = { silentMs: silentUs / 1_000, lostMs: ms(lost, this.uplink!.format) };
    const transport = this.line.driver!.transport.name;
    this.host.post({ kind: "resumed", welcome, continued, ...times, transport, lost: webtransportLost });
  }

  path(path: PathState): void {
    this.host.post({ kind: "path", path });
  }

  pausing(): boolean {
    return this.turn.pausing && this.replies.buffered === 0;
  }

  quiet(): boolean {
    return !this.turn.spoken && this.replies.buffered === 0;
  }

  async failedToConnect(error: unknown): Promise<void> {
    if (this.over) return;
    const { discoveryUrl, certificateHashes, webtransportUrl, websocketUrl } = this.settings;
    const fetch: Fetch = (url, init) => this.host.fetch(url, init);
    const changed = discoveryUrl !== null && (await haveChanged(certificateHashes, discoveryUrl, fetch, DISCOVERY_MS));
    // The page may have hung up while the server was asked.
    if (this.over) return;
    const { host } = new URL((webtransportUrl ?? websocketUrl)!);
    const failure = failureToConnect(error, host, this.line.hashes.length > 0, changed);
    this.fail(failure.code, failure.message, true);
    this.end("transport", 0, failure.message);
  }

  react(event: Event): void {
    switch (event.kind) {
      case "eventReceived":
        this.turn.take(event.event.type);
        if (event.event.type === "legato.unduck") this.unduck(event.event["generation"]);
        return this.host.post({ kind: "event", event: event.event });
      case "draining":
        return this.host.post({ kind: "draining", inMs: event.inMs });
      case "sessionEnded":
        return this.sessionEnded(event.by, event.code, event.reason);
      default:
        this.play(event);
    }
  }

  private play(event: Event): void {
    this.line.heartbeat.busy(this.host.now());
    try {
      if (event.kind === "replyStarted" && !this.output.some((one) => equal(one, event.header.format))) {
        throw new RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "a reply in a format that was not offered");
      }
      this.replies.take(event);
      if (event.kind === "flushed") this.goOn(this.bargeIn.decided(event.first, event.generation));
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.line.driver!.session.close(error.code, error.reason);
    }
  }

  private report(reports: readonly PlayerReport[]): void {
    for (const report of reports) {
      this.host.post({ kind: "playback", report });
      if (!this.line.welcome) continue;
      this.line.driver!.session.reportPlayback({
        ...{ type: "legato.playback", item_id: report.itemId, content_index: report.contentIndex },
        ...{ generation: report.generation, played: report.played, buffered: report.buffered },
        ...{ underruns: report.underruns, state: report.state },
      });
    }
    this.line.driver?.settle();
  }

  private sessionEnded(by: Party, code: number, reason: string): void {
    const { welcome } = this.line;
    const failure = by === "transport" && welcome ? lossOf(reason, welcome, this.unsentMs) : failureOf(by, code, reason);
    if (failure) this.fail(failure.code, failure.message, true);
    this.end(by, code, reason);
  }

  /** The call cannot go on for a reason of our own. */
  private breakOff(reason: string): void {
    if (this.over) return;
    if (this.line.close(SessionCode.INTERNAL_ERROR, reason)) return;
    this.fail("unsupported-browser", reason, true);
    this.end("local", SessionCode.INTERNAL_ERROR, reason);
  }

  // What goes on meanwhile

  private tick(): void {
    const now = this.host.now();
    this.goOn(this.bargeIn.tick(now));
    this.line.tick(now);
    this.ticks += 1;
    if (this.ticks % STATISTICS_TICKS === 0) this.host.post({ kind: "statistics", statistics: this.statistics() });
  }

  private statistics(): NetworkStatistics {
    const { driver, welcome, resumes, heartbeat } = this.line;
    const input = this.uplink?.format ?? this.settings.input;
    const output = welcome?.output ?? this.output[0]!;
    return {
      transport: driver?.transport.name ?? null,
      rttMs: heartbeat.rttUs === null ? null : heartbeat.rttUs / 1_000,
      heartbeatsSent: heartbeat.sent,
      heartbeatsReturned: heartbeat.returned,
      inputCodec: input.codec,
      outputCodec: output.codec,
      capturedMs: ms(this.uplink?.captured ?? 0, input),
      ackedMs: ms(driver?.session.acked ?? 0, input),
      bytesReceived: this.line.received,
      bytesUnsent: driver?.transport.unsent ?? 0,
      bufferedMs: ms(this.replies.buffered, output),
      underruns: this.replies.underruns,
      retriesWebTransport: this.line.retriesWebTransport,
      resumes,
      pathChanges: this.pathChanges,
      lostMs: ms(this.lost, input),
    };
  }

  /** What was captured and is not known to have reached the agent. */
  private get unsentMs(): number {
    const acked = this.line.driver?.session.acked ?? 0;
    return this.uplink ? ms(Math.max(0, this.uplink.captured - acked), this.uplink.format) : 0;
  }

  private fail(code: VoiceErrorCode, message: string, fatal: boolean): void {
    this.host.post({ kind: "failed", code, message, fatal });
  }

  private end(by: "local" | "peer" | "transport", code: number, reason: string): void {
    if (this.over) return;
    this.over = true;
    if (this.timer !== null) clearInterval(this.timer);
    this.line.stop();
    // Whoever still waits for it finds that the call is over.
    this.giveToken(null);
    // Who hangs up wants silence; otherwise what has arrived is played to its end.
    if (by === "local") this.replies.close();
    this.uplink?.close();
    this.host.post({ kind: "statistics", statistics: this.statistics() });
    this.host.post({ kind: "ended", by, code, reason, unsentMs: this.unsentMs });
  }
}

/** Milliseconds of so many samples. */
const ms = (samples: number, { rate }: AudioFormat): number => (samples / rate) * 1_000;
