// A call as the page sees it. The page's thread only paints: it starts the others, joins them, and is told.
//
// Owns the worker, the loudspeaker and the microphone. Must not know bytes, transports or codecs.

import { Microphone } from "./audio/microphone.ts";
import { Speaker } from "./audio/speaker.ts";
import { VoiceError } from "./errors.ts";
import { Listeners, type Devices, type PlaybackPosition, type Statistics, type VoiceEvents, type VoiceState } from "./events.ts";
import type { CallCommand, CallMessage, CallSettings, NetworkStatistics, PathState } from "./network/threads.ts";
import type { RaceMemory } from "./race-memory.ts";
import { startMs, type ConnectOptions, type MicrophoneOptions, type Token } from "./settings.ts";
import { watchNetwork } from "./network-watch.ts";
import { notLoaded, release, threadUrl } from "./thread-code.ts";
import type { PlayerReport } from "./audio/playback-buffer.ts";
import type { TransportName } from "./transports/base.ts";
import type { JsonObject, Welcome } from "./wire/messages.ts";

/** How long what has arrived may go on playing after the server ended the call, beyond what is known to wait. */
const PLAY_OUT_MS = 1_000;

const NO_STATISTICS: NetworkStatistics = {
  ...{ transport: null, rttMs: null, heartbeatsSent: 0, heartbeatsReturned: 0, inputCodec: "", outputCodec: "" },
  ...{ capturedMs: 0, ackedMs: 0, bytesReceived: 0, bytesUnsent: 0, bufferedMs: 0, underruns: 0 },
  ...{ retriesWebTransport: false, resumes: 0, pathChanges: 0, lostMs: 0 },
};

export class VoiceSession {
  /** Resolves with the server's welcome; rejects with a VoiceError if the call does not come about. */
  readonly ready: Promise<Welcome>;
  /** Resolves when the call is over, however it ended. */
  readonly closed: Promise<VoiceEvents["ended"]>;
  private readonly listeners = new Listeners<VoiceEvents>();
  private readonly worker: Worker;
  private readonly speaker: Speaker | null = null;
  private mic: Microphone | null = null;
  private muted = false;
  private current: VoiceState = "connecting";
  private welcome: Welcome | null = null;
  private latest: NetworkStatistics = NO_STATISTICS;
  private lost: string | null = null;
  private heard: PlaybackPosition | null = null;
  private agentSpeaks = false;
  /** The server has said that it will end the call. */
  private leaves = false;
  private unwatch: () => void = () => {};
  /** Until what has arrived has been played. */
  private playingOut: ReturnType<typeof setTimeout> | null = null;
  private settle!: { ready(welcome: Welcome): void; failed(error: VoiceError): void; closed(ending: VoiceEvents["ended"]): void };
  private readonly onDevices = (): void => void this.devices().then((devices) => this.listeners.tell("devices", devices));

  /** To be made inside a click: a browser lets no other page sound. Use `connect`. */
  constructor(
    private readonly settings: CallSettings,
    private readonly options: ConnectOptions,
    private readonly memory: RaceMemory,
  ) {
    this.ready = new Promise((ready, failed) => (this.settle = { ...this.settle, ready, failed }));
    this.closed = new Promise((closed) => (this.settle = { ...this.settle, closed }));
    // Whoever does not wait for it hears of a failure by "error".
    this.ready.catch(() => {});
    const started = startMs(options);
    if (settings.plays) this.speaker = new Speaker(settings.output[0]!.rate, (blocked) => this.listeners.tell("blocked", { blocked }));
    try {
      this.worker = this.startWorker();
    } catch (error) {
      void this.speaker?.close();
      throw notLoaded("worker", options.threads, error);
    }
    const player = this.speaker?.port ?? null;
    this.command({ kind: "start", settings, player }, player ? [player] : []);
    this.speaker?.start(started, options.threads).catch((error: unknown) => this.fail(asVoiceError(error)));
    void this.giveToken(options.token ?? null);
    navigator.mediaDevices?.addEventListener("devicechange", this.onDevices);
    this.unwatch = watchNetwork((moved) => this.command({ kind: "doubt", moved }));
  }

  get state(): VoiceState {
    return this.current;
  }

  /** At which `sendAudio` takes samples. */
  get inputRate(): number {
    return this.settings.input.rate;
  }

  /** Of the part that is, or was last, played. */
  get playback(): PlaybackPosition | null {
    return this.heard;
  }

  /** For meters: connect an AnalyserNode to it. Null without a loudspeaker. */
  get output(): AudioNode | null {
    return this.speaker?.output ?? null;
  }

  /** What the microphone gives, for meters; null before there is one. */
  get input(): MediaStream | null {
    return this.mic?.stream ?? null;
  }

  /** Listen to one kind of event; returns how to stop. */
  on<Name extends keyof VoiceEvents>(name: Name, listener: (event: VoiceEvents[Name]) => void): () => void {
    const stop = this.listeners.add(name, listener);
    if (name === "audio") this.command({ kind: "tap", wanted: true });
    return () => {
      stop();
      if (name === "audio" && !this.listeners.any("audio")) this.command({ kind: "tap", wanted: false });
    };
  }

  /**
   * Send what a microphone captures, from now on; again, to change the device. To be called inside a click the first
   * time. Rejects with a VoiceError that says what is wrong with the microphone; the call goes on.
   */
  async microphone(options: MicrophoneOptions = {}): Promise<MediaStream> {
    const mic = this.capture();
    const stream = await mic.use(options);
    this.attend();
    this.listeners.tell("microphone", { active: true, muted: false, label: labelOf(stream) });
    return stream;
  }

  /** Send the sound of a stream of the page's own instead of a microphone's. */
  sendStream(stream: MediaStream): void {
    this.capture().play(stream);
    this.attend();
  }

  /** Send samples of the page's own making, at the rate of `input`. */
  sendAudio(pcm: Int16Array): void {
    this.checkOpen();
    const copy = pcm.slice();
    if (copy.length) this.command({ kind: "audio", pcm: copy }, [copy.buffer]);
  }

  /** Send nothing of what is captured until it is called with false. */
  mute(muted = true): void {
    this.muted = muted;
    this.command({ kind: "mute", muted });
    this.attend();
  }

  /** Silence the reply here at once, and have the server stop it. */
  interrupt(): void {
    this.command({ kind: "interrupt" });
  }

  /** Go quiet and keep the place, or go on from the very sample: for when somebody may have begun to speak. */
  duck(ducked = true): void {
    this.command({ kind: "hold", held: ducked });
  }

  /** Say an event to the server, in OpenAI Realtime's words. */
  send(event: JsonObject): void {
    this.checkOpen();
    if (typeof event?.type !== "string" || event.type.startsWith("legato.")) {
      throw new VoiceError("misuse", 'an event needs a "type" that is a string and not legato.*');
    }
    this.command({ kind: "event", event });
  }

  /** A pause in what is said: let the server have everything now. */
  endUtterance(): void {
    this.command({ kind: "endUtterance" });
  }

  /** End what was said by hand, for sessions without turn detection; ask for the answer with `response.create`. */
  commit(): void {
    this.checkOpen();
    this.command({ kind: "commit" });
  }

  /** Which microphones and loudspeakers there are. */
  async devices(): Promise<Devices> {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const of = (kind: MediaDeviceKind) =>
      all.filter((one) => one.kind === kind && one.deviceId).map(({ deviceId, label }) => ({ deviceId, label }));
    return { microphones: of("audioinput"), speakers: of("audiooutput") };
  }

  /** Play on another loudspeaker; rejects with a VoiceError where a browser cannot choose. */
  async useSpeaker(deviceId: string): Promise<void> {
    await this.speaker?.use(deviceId);
  }

  /** What is known at this moment. */
  statistics(): Statistics {
    const outputLatencyMs = (this.speaker?.latency ?? 0) * 1_000;
    return { ...this.latest, state: this.current, webtransportLost: this.lost, outputLatencyMs };
  }

  /** Hang up, and give microphone and loudspeaker back; behind the end, silence what still plays. Idempotent. */
  async close(): Promise<void> {
    this.command({ kind: "close" });
    await this.closed;
    this.letGo();
  }

  // The other threads

  private startWorker(): Worker {
    const url = threadUrl("worker", this.options.threads);
    const worker = new Worker(url, { name: "legato" });
    worker.addEventListener("message", () => release(url), { once: true });
    worker.onmessage = ({ data }: MessageEvent<CallMessage>) => this.take(data);
    worker.onerror = (event) => {
      event.preventDefault();
      const failed = `The network thread failed: ${event.message}`;
      const error = event.message ? new VoiceError("protocol", failed) : notLoaded("worker", this.options.threads);
      this.fail(error, true);
      this.end({ by: "local", code: 9, reason: error.message, unsentMs: this.latest.capturedMs - this.latest.ackedMs });
    };
    return worker;
  }

  private capture(): Microphone {
    this.checkOpen();
    if (!this.mic) {
      const lost = (): void => {
        this.listeners.tell("microphone", { active: false, muted: false, label: "" });
        this.fail(new VoiceError("microphone-lost", "The microphone is gone: plug it in again, or choose another."));
      };
      const muted = (is: boolean): void => {
        this.listeners.tell("microphone", { active: !is, muted: is, label: labelOf(this.mic!.stream!) });
      };
      const blocked = (is: boolean): void => this.listeners.tell("blocked", { blocked: is });
      this.mic = new Microphone(this.settings.input.rate, { lost, muted, blocked });
      const { port1, port2 } = new MessageChannel();
      this.command({ kind: "capture", port: port1 }, [port1]);
      this.mic.start(port2, this.options.threads).catch((error: unknown) => this.fail(asVoiceError(error)));
    }
    return this.mic;
  }

  /** Let the loudspeaker hear who speaks, if it is to go quiet by itself. */
  private attend(): void {
    if (this.settings.ducks && this.current !== "ended") this.speaker?.listen(this.muted ? null : this.input);
  }

  private async giveToken(token: Token): Promise<void> {
    try {
      this.command({ kind: "token", token: typeof token === "function" ? await token() : token });
    } catch (error) {
      const message = `There is no token for this call: ${error instanceof Error ? error.message : String(error)}`;
      this.fail(new VoiceError("unauthorized", message, { cause: error }), true);
      this.command({ kind: "close" });
    }
  }

  private command(command: CallCommand, transfer: Transferable[] = []): void {
    if (this.current !== "ended") this.worker.postMessage(command, transfer);
  }

  private take(message: CallMessage): void {
    switch (message.kind) {
      case "connected":
        this.lost = message.lost;
        return this.noteRace(message.transport, message.lost !== null);
      case "welcome":
        this.welcome = message.welcome;
        this.settle.ready(message.welcome);
        return this.move("live");
      case "event":
        this.noteSpeech(message.event.type);
        return this.listeners.tell("event", message.event);
      case "replyStarted":
        return this.listeners.tell("reply", { ...message });
      case "playback":
        return this.notePlayback(message.report);
      case "ducked":
        return this.listeners.tell("ducked", { at: message.at });
      case "interrupted":
        return this.listeners.tell("interrupted", { first: message.first, last: message.last });
      case "audio": {
        const { generation, itemId, pcm } = message;
        return this.listeners.tell("audio", { generation, itemId, pcm, rate: this.welcome!.output.rate });
      }
      case "path":
        return this.notePath(message.path);
      case "resumed":
        return this.resumed(message);
      case "draining":
        this.leaves = true;
        return this.move("leaving");
      case "statistics":
        this.latest = message.statistics;
        return this.listeners.tell("statistics", this.statistics());
      case "failed":
        return this.fail(new VoiceError(message.code, message.message), message.fatal);
      case "ended":
        return this.end({ by: message.by, code: message.code, reason: message.reason, unsentMs: message.unsentMs });
    }
  }

  private notePath(path: PathState): void {
    if (path === "lost") this.move("reconnecting");
    else if (path === "sound") this.move(this.leaves ? "leaving" : "live");
    else if (this.current === "live") this.move("uncertain");
  }

  private resumed({ welcome, continued, transport, silentMs, lostMs, lost }: Extract<CallMessage, { kind: "resumed" }>): void {
    this.welcome = welcome;
    this.lost = lost;
    this.leaves = false;
    // An outage says nothing of a network on which WebTransport got through before.
    if (transport === "webtransport") this.noteRace(transport, false);
    this.move("live");
    if (!continued && this.agentSpeaks) {
      this.agentSpeaks = false;
      this.listeners.tell("speaking", { who: "agent", active: false });
    }
    this.listeners.tell("resumed", { continued, transport, silentMs, lostMs });
  }

  private noteRace(winner: TransportName, lost: boolean): void {
    this.memory.note(new URL((this.settings.webtransportUrl ?? this.settings.websocketUrl)!).host, winner, lost);
  }

  private noteSpeech(type: string): void {
    const active = type === "input_audio_buffer.speech_started";
    if (active || type === "input_audio_buffer.speech_stopped") this.listeners.tell("speaking", { who: "person", active });
  }

  private notePlayback({ itemId, generation, played, buffered, underruns, state }: PlayerReport): void {
    const ms = (samples: number): number => (samples / this.settings.output[0]!.rate) * 1_000;
    this.heard = { itemId, generation, heardMs: ms(played), bufferedMs: ms(buffered), underruns, state };
    const active = state === "playing";
    if (active !== this.agentSpeaks) this.listeners.tell("speaking", { who: "agent", active });
    this.agentSpeaks = active;
    this.listeners.tell("playback", this.heard);
  }

  /** `fatal`: the call does not come about, or does not go on. */
  private fail(error: VoiceError, fatal = false): void {
    // What a call has begun may fail because of its end.
    if (this.current === "ended") return;
    if (fatal) this.settle.failed(error);
    this.listeners.tell("error", error);
  }

  private checkOpen(): void {
    if (this.current === "ended") throw new VoiceError("closed", "This call is over: connect again.");
  }

  private move(state: VoiceState): void {
    if (state === this.current) return;
    const before = this.current;
    this.current = state;
    this.listeners.tell("state", { state, before });
  }

  private end(ending: VoiceEvents["ended"]): void {
    if (this.current === "ended") return;
    navigator.mediaDevices?.removeEventListener("devicechange", this.onDevices);
    this.settle.failed(new VoiceError("closed", ending.reason || "The call is over."));
    this.unwatch();
    void this.mic?.close();
    const rest = ending.by === "local" ? 0 : this.latest.bufferedMs + PLAY_OUT_MS;
    this.playingOut = setTimeout(() => this.letGo(), rest);
    this.move("ended");
    this.settle.closed(ending);
    this.listeners.tell("ended", ending);
  }

  private letGo(): void {
    if (this.playingOut === null) return;
    clearTimeout(this.playingOut);
    this.playingOut = null;
    this.worker.terminate();
    void this.speaker?.close();
  }
}

const labelOf = (stream: MediaStream): string => stream.getAudioTracks()[0]?.label ?? "";

function asVoiceError(error: unknown): VoiceError {
  if (error instanceof VoiceError) return error;
  return new VoiceError("unsupported-browser", error instanceof Error ? error.message : String(error), { cause: error });
}
