// One call, from the first packet to the last, as it lives in the network worker.
//
// Owns its life: which transport, when the session begins, what is sent before, how it ends. What bytes mean is the
// session's, what is heard the player's. `host` is everything that only a browser has.
//
//     preparing ──race won──► greeting ──welcome──► live ──► over
//         ▲                      │
//         └──no welcome in time──┘   once, without WebTransport: the first packets of UDP may pass where others do not
//
// A path that is lost after the welcome ends the call with the code "lost". Everything that a resume needs outlives the
// session: the ticket in `welcome`, the audio in `session.carried`, the positions in `session.resumeRequest`.

import type { PlayerReport } from "../audio/playback-buffer.ts";
import { ClientSession, CLIENT_LIMITS } from "../core/client-session.ts";
import type { Event } from "../core/outputs.ts";
import type { Piece } from "../core/uplink-sender.ts";
import { UPLINK_SETTINGS } from "../core/uplink-sender.ts";
import { LocalProtocolError, RemoteProtocolError, type VoiceErrorCode } from "../errors.ts";
import type { Attempt } from "../transports/base.ts";
import { race, type Winner } from "../transports/race.ts";
import { SessionCode, WIRE_VERSION } from "../wire/codes.ts";
import { audioFormat, equal, type AudioFormat } from "../wire/formats.ts";
import type { Hello, JsonObject, Welcome } from "../wire/messages.ts";
import { BargeIn } from "./barge-in.ts";
import { discoverHashes, haveChanged, type Fetch } from "./discovery.ts";
import { failureOf, failureToConnect } from "./ending.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Replies } from "./replies.ts";
import { SessionDriver } from "./session-driver.ts";
import type { CallCommand, CallMessage, CallSettings, CapturedPiece, NetworkStatistics } from "./threads.ts";
import { Uplink } from "./uplink.ts";

export interface CallHost {
  /** A monotonic clock in microseconds. */
  now(): number;
  post(message: CallMessage, transfer?: Transferable[]): void;
  webtransport(url: string, hashes: readonly Uint8Array<ArrayBuffer>[]): Attempt;
  websocket(url: string): Attempt;
  fetch(url: string, init: RequestInit): Promise<Response>;
  encodesOpus(rate: number, bitrate: number): Promise<boolean>;
  decodesOpus(): Promise<boolean>;
}

const TICK_MS = 100;
/** Statistics are told at every third tick. */
const STATISTICS_TICKS = 3;
/** The least time a server has for its welcome, however long the connection took. */
const WELCOME_MS = 1_500;

export class Call {
  private readonly replies: Replies;
  private readonly control = new AbortController();
  private readonly heartbeat = new Heartbeat();
  private readonly bargeIn = new BargeIn();
  private readonly token: Promise<string | null>;
  private giveToken!: (token: string | null) => void;
  private uplink: Uplink | null = null;
  /** What has to wait until it is known which codecs the browser has. */
  private waiting: ((uplink: Uplink) => void)[] = [];
  private driver: SessionDriver | null = null;
  private welcome: Welcome | null = null;
  private said: JsonObject[] = [];
  private hashes: Uint8Array<ArrayBuffer>[];
  private output: AudioFormat[];
  private lost: string | null = null;
  private suspicious = false;
  private receivedBefore = 0;
  private muted = false;
  private over = false;
  private ticks = 0;
  private timer: ReturnType<typeof setInterval> | null = null;
  private readonly startedUs: number;

  constructor(
    private readonly settings: CallSettings,
    player: MessagePort | null,
    private readonly host: CallHost,
  ) {
    this.startedUs = host.now();
    this.hashes = settings.certificateHashes;
    this.output = settings.output;
    this.token = new Promise((resolve) => (this.giveToken = resolve));
    this.replies = new Replies(player, host.post.bind(host), (reports) => this.report(reports));
  }

  /** Connect; whatever comes of it is posted. */
  async start(): Promise<void> {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    try {
      await Promise.all([this.chooseFormats(), this.findHashes()]);
      if (!this.over) await this.connect(true, []);
    } catch (error) {
      await this.failToConnect(error);
    }
  }

  /** Do what the main thread says. */
  command(command: CallCommand): void {
    switch (command.kind) {
      case "token":
        return this.giveToken(command.token);
      case "capture":
        command.port.onmessage = ({ data }: MessageEvent<CapturedPiece>) =>
          "pcm" in data ? this.capture(data.pcm) : this.notice(data.speaking);
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
        return this.replies.hold(command.held);
      case "tap":
        this.replies.tapped = command.wanted;
        return;
      case "close":
        return this.hangUp();
      case "start":
    }
  }

  private capture(pcm: Int16Array): void {
    if (this.over) return;
    this.heartbeat.busy(this.host.now());
    this.whenPrepared((uplink) => uplink.take(pcm));
  }

  private whenPrepared(act: (uplink: Uplink) => void): void {
    if (this.uplink) act(this.uplink);
    else this.waiting.push(act);
  }

  /** Somebody may have begun to speak, or has stopped. */
  private notice(speaking: boolean): void {
    const { audible } = this.replies;
    if (!this.settings.ducks || this.muted || !this.bargeIn.speech(speaking, audible !== null, this.host.now())) return;
    this.replies.hold(true);
    this.say({ type: "legato.duck", generation: audible });
  }

  private goOn(free: boolean): void {
    if (free) this.replies.hold(false);
  }

  private say(event: JsonObject): void {
    if (this.over) return;
    if (!this.welcome) this.said.push(event);
    if (!this.driver) return;
    this.sayOn(this.driver.session, event);
    this.driver.settle();
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
    if (!this.driver) return this.end("local", SessionCode.NO_ERROR, "hung up");
    this.driver.session.close(SessionCode.NO_ERROR, "hung up");
    this.driver.settle();
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
    const format = encodes ? input : audioFormat("pcm16", input.rate);
    const fail = (reason: string): void => this.breakOff(`the browser's encoder failed: ${reason}`);
    this.uplink = new Uplink(format, bitrate, () => this.host.now(), () => this.driver?.settle(), fail);
    this.uplink.mute(this.muted);
    for (const act of this.waiting.splice(0)) act(this.uplink);
  }

  private async findHashes(): Promise<void> {
    const { discoveryUrl, hardStopMs } = this.settings;
    if (!discoveryUrl || this.hashes.length) return;
    try {
      this.hashes = await discoverHashes(discoveryUrl, (at, init) => this.host.fetch(at, init), hardStopMs);
    } catch {
      // A certificate of an authority needs no hash, and any other one shows in the race.
    }
  }

  private async connect(withWebTransport: boolean, carried: readonly Piece[]): Promise<void> {
    const { webtransportUrl, websocketUrl, headStartMs, hardStopMs, patienceMs } = this.settings;
    const webtransport = withWebTransport && webtransportUrl ? () => this.host.webtransport(webtransportUrl, this.hashes) : null;
    const websocket = websocketUrl ? () => this.host.websocket(websocketUrl) : null;
    const [winner, token] = await Promise.all([
      race({ webtransport, websocket, headStartMs, hardStopMs, patienceMs }, this.control.signal),
      this.token,
    ]);
    if (this.over) return winner.transport.close(SessionCode.NO_ERROR, "hung up");
    this.lost ??= winner.lost;
    this.begin(winner, token, carried);
  }

  private begin({ transport }: Winner, token: string | null, carried: readonly Piece[]): void {
    const now = this.host.now();
    const elsewhere = transport.name === "webtransport" && this.settings.websocketUrl !== null;
    const left = this.settings.hardStopMs - (now - this.startedUs) / 1_000;
    const patience = elsewhere ? Math.max(WELCOME_MS, Math.round(left)) : this.settings.patienceMs;
    const limits = { ...CLIENT_LIMITS, hello_ms: patience };
    const uplink = { ...UPLINK_SETTINGS, groupUs: this.settings.groupMs * 1_000 };
    const session = new ClientSession(this.hello(token), now, { limits, uplink, carried });
    this.uplink!.attach(session);
    for (const event of this.said) this.sayOn(session, event);
    this.driver = new SessionDriver(session, transport, () => this.host.now(), (event) => this.react(event));
    this.driver.start();
    if (!this.over) this.host.post({ kind: "connected", transport: transport.name, lost: this.lost });
  }

  private hello(token: string | null): Hello {
    const { profile, leadMs, client, plays, ducks } = this.settings;
    return {
      ...{ type: "legato.hello", version: WIRE_VERSION, input: this.uplink!.format, output: this.output },
      ...{ dialect: "realtime", profile, lead_ms: leadMs, token, client },
      capabilities: { playback_reports: plays, local_vad: ducks },
    };
  }

  private async failToConnect(error: unknown): Promise<void> {
    if (this.over) return;
    const { discoveryUrl, certificateHashes, webtransportUrl, websocketUrl } = this.settings;
    const fetch: Fetch = (url, init) => this.host.fetch(url, init);
    const changed = discoveryUrl !== null && (await haveChanged(certificateHashes, discoveryUrl, fetch, WELCOME_MS));
    const { host } = new URL((webtransportUrl ?? websocketUrl)!);
    const failure = failureToConnect(error, host, this.hashes.length > 0, changed);
    this.fail(failure.code, failure.message, true);
    this.end("transport", 0, failure.message);
  }

  // The session

  private react(event: Event): void {
    switch (event.kind) {
      case "welcomed":
        this.welcome = event.welcome;
        this.said = [];
        return this.host.post({ kind: "welcome", welcome: event.welcome });
      case "eventReceived":
        if (event.event.type === "legato.unduck") this.goOn(this.bargeIn.decided());
        return this.host.post({ kind: "event", event: event.event });
      case "heartbeatReturned":
        return this.heartbeat.echoed(event.sequence, this.host.now());
      case "draining":
        return this.host.post({ kind: "draining", inMs: event.inMs });
      case "sessionEnded":
        return this.sessionEnded(event);
      default:
        this.play(event);
    }
  }

  private play(event: Event): void {
    this.heartbeat.busy(this.host.now());
    try {
      if (event.kind === "replyStarted" && !this.output.some((one) => equal(one, event.header.format))) {
        throw new RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, "a reply in a format that was not offered");
      }
      this.replies.take(event);
      if (event.kind === "flushed") this.goOn(this.bargeIn.decided());
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.driver!.session.close(error.code, error.reason);
    }
  }

  private report(reports: readonly PlayerReport[]): void {
    for (const report of reports) {
      this.host.post({ kind: "playback", report });
      if (!this.welcome || !this.driver) continue;
      this.driver.session.reportPlayback({
        ...{ type: "legato.playback", item_id: report.itemId, content_index: report.contentIndex },
        ...{ generation: report.generation, played: report.played, buffered: report.buffered },
        ...{ underruns: report.underruns, state: report.state },
      });
    }
    this.driver?.settle();
  }

  private sessionEnded({ by, code, reason }: Extract<Event, { kind: "sessionEnded" }>): void {
    const unheard = by === "transport" || (by === "local" && code === SessionCode.HELLO_TIMEOUT);
    const { transport, session } = this.driver!;
    if (!this.welcome && unheard && transport.name === "webtransport" && this.settings.websocketUrl) {
      this.lost = reason;
      const carried = session.carried;
      this.driver = null;
      this.uplink!.attach(null);
      this.connect(false, carried).catch((error: unknown) => this.failToConnect(error));
      return;
    }
    const failure = failureOf(by, code, reason);
    if (failure) this.fail(failure.code, failure.message, true);
    this.end(by, code, reason);
  }

  /** The call cannot go on for a reason of our own. */
  private breakOff(reason: string): void {
    if (this.over) return;
    if (!this.driver) {
      this.fail("unsupported-browser", reason, true);
      return this.end("local", SessionCode.INTERNAL_ERROR, reason);
    }
    this.driver.session.close(SessionCode.INTERNAL_ERROR, reason);
    this.driver.settle();
  }

  // What goes on meanwhile

  private tick(): void {
    const now = this.host.now();
    this.goOn(this.bargeIn.tick(now));
    if (this.welcome && this.driver) {
      if (this.driver.received !== this.receivedBefore) this.heartbeat.alive();
      this.receivedBefore = this.driver.received;
      const sequence = this.heartbeat.beat(now);
      if (sequence !== null) this.driver.session.sendHeartbeat(sequence);
      this.driver.settle();
      const suspicious = this.heartbeat.suspicious(now);
      if (suspicious !== this.suspicious) this.host.post({ kind: "path", suspicious });
      this.suspicious = suspicious;
    }
    this.ticks += 1;
    if (this.ticks % STATISTICS_TICKS === 0) this.host.post({ kind: "statistics", statistics: this.statistics() });
  }

  private statistics(): NetworkStatistics {
    const { rttUs, sent, returned } = this.heartbeat;
    const ms = (samples: number, { rate }: AudioFormat): number => (samples / rate) * 1_000;
    const input = this.uplink?.format ?? this.settings.input;
    const output = this.welcome?.output ?? this.output[0]!;
    return {
      transport: this.driver?.transport.name ?? null,
      rttMs: rttUs === null ? null : rttUs / 1_000,
      heartbeatsSent: sent,
      heartbeatsReturned: returned,
      inputCodec: input.codec,
      outputCodec: output.codec,
      capturedMs: ms(this.uplink?.captured ?? 0, input),
      ackedMs: ms(this.driver?.session.acked ?? 0, input),
      bytesReceived: this.driver?.received ?? 0,
      bytesUnsent: this.driver?.transport.unsent ?? 0,
      bufferedMs: ms(this.replies.buffered, output),
      underruns: this.replies.underruns,
    };
  }

  private fail(code: VoiceErrorCode, message: string, fatal: boolean): void {
    this.host.post({ kind: "failed", code, message, fatal });
  }

  private end(by: "local" | "peer" | "transport", code: number, reason: string): void {
    if (this.over) return;
    this.over = true;
    if (this.timer !== null) clearInterval(this.timer);
    this.control.abort();
    // Whoever still connects finds that it is over, and closes what it got.
    this.giveToken(null);
    // Who hangs up wants silence; otherwise what has arrived is played to its end.
    if (by === "local") this.replies.close();
    this.uplink?.close();
    this.host.post({ kind: "statistics", statistics: this.statistics() });
    this.host.post({ kind: "ended", by, code, reason });
  }
}
