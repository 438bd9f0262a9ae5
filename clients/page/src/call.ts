// One call of the page: what it tells becomes the conversation and the history.
//
// Owns the session. Must not know the page's elements: `view` is told what changed.

import { connect, VoiceError, type ConnectOptions, type Ending, type MicrophoneOptions, type Statistics, type VoiceSession } from "legato-voice";

import type { Conversation } from "./conversation.ts";
import type { History, PathKind } from "./history.ts";
import { KeyNeeded } from "./key.ts";
import { Meter } from "./meters.ts";
import { NAMES, resumption } from "./words.ts";

export interface CallView {
  /** Something about the call is different: its state, who speaks, the microphone. */
  changed(): void;
  /** There are new words, or more of them were heard. */
  spoken(): void;
  statistics(statistics: Statistics): void;
  failed(code: string, message: string): void;
  blocked(blocked: boolean): void;
  ended(ending: Ending): void;
}

export class PageCall {
  speaking: "person" | "agent" | null = null;
  microphoneActive = false;
  /** By the system or the browser. */
  microphoneMuted = false;
  muted = false;
  readonly session: VoiceSession;
  private voice: Meter | null = null;
  private transport: Statistics["transport"] = null;
  private keyNeeded = false;
  private readonly startedAt = performance.now();

  /** Call; to be made inside a click. Throws VoiceError where that is impossible. */
  constructor(
    options: ConnectOptions & { token: () => Promise<string | null> },
    private readonly conversation: Conversation,
    private readonly history: History,
    private readonly view: CallView,
    private readonly isHeld: () => boolean,
  ) {
    const token = async (): Promise<string | null> => {
      try {
        return await options.token();
      } catch (error) {
        this.keyNeeded = error instanceof KeyNeeded;
        throw error;
      }
    };
    this.session = connect("/", { ...options, token });
    this.listen();
  }

  /** As the session has it; a newer package may know more states than this page. */
  get state(): string {
    return this.session.state;
  }

  /** Open the microphone, or another one, or one that is treated otherwise. */
  async useMicrophone(options: MicrophoneOptions): Promise<void> {
    try {
      const stream = await this.session.microphone(options);
      const context = this.session.output?.context;
      this.voice?.close();
      this.voice = context && context.state !== "closed" ? Meter.ofStream(context, stream) : null;
    } catch (error) {
      // What is wrong once the call is over concerns nobody.
      if (this.state !== "ended") this.fail(error);
    }
  }

  mute(muted: boolean): void {
    this.muted = muted;
    this.session.mute(muted);
    this.view.changed();
  }

  /** Say something in writing. */
  write(text: string): void {
    const id = `item_${crypto.randomUUID().replaceAll("-", "").slice(0, 16)}`;
    const content = [{ type: "input_text", text }];
    this.session.interrupt();
    this.session.send({ type: "conversation.item.create", item: { id, type: "message", role: "user", content } });
    this.session.send({ type: "response.create" });
    this.conversation.wrote(id, text);
    this.view.spoken();
  }

  /** How loud the person is at this moment. */
  get voiceLevel(): number {
    return this.voice && !this.muted ? this.voice.level : 0;
  }

  private listen(): void {
    const { session, conversation, history, view } = this;
    const now = (): number => performance.now();
    session.on("state", ({ state, before }) => this.moved(state, before));
    session.on("event", (event) => {
      if (event.type === "error") this.refused(event.error);
      if (conversation.event(event)) view.spoken();
    });
    session.on("audio", ({ generation, itemId, pcm, rate }) => {
      conversation.audio(generation, itemId, (pcm.length / rate) * 1_000);
      history.reply(generation).audio(pcm, rate);
    });
    session.on("playback", (position) => {
      conversation.playback(position);
      history.reply(position.generation).playback(now(), position);
      view.spoken();
    });
    session.on("interrupted", () => history.mark(now(), "interruption", `interrupted${this.unheard(now())}`));
    session.on("resumed", (how) => {
      history.mark(now(), "path", resumption(how, this.transport));
      this.transport = how.transport;
    });
    session.on("speaking", ({ who, active }) => {
      if (active) this.speaking = who;
      else if (this.speaking === who) this.speaking = null;
      view.changed();
    });
    session.on("statistics", (statistics) => this.measured(statistics));
    session.on("blocked", ({ blocked }) => view.blocked(blocked));
    session.on("microphone", ({ active, muted }) => {
      this.microphoneActive = active;
      this.microphoneMuted = muted;
      view.changed();
    });
    session.on("error", (error) => this.fail(error));
    session.on("ended", (ending) => {
      this.voice?.close();
      conversation.end();
      view.ended(ending);
    });
  }

  /** How much of what had arrived nobody will hear. */
  private unheard(now: number): string {
    const ms = Math.max(0, ...[...this.history.replies.values()].map((reply) => reply.bufferedMs(now)));
    return ms > 100 ? `, ${(ms / 1_000).toFixed(1)} s unheard` : "";
  }

  private moved(state: string, before: string): void {
    if (state === "live" && before === "connecting") {
      const ms = Math.round(performance.now() - this.startedAt);
      const { transport } = this.session.statistics();
      this.transport = transport;
      if (transport) this.history.mark(performance.now(), "path", `${NAMES[transport]} in ${ms} ms`);
    }
    this.view.changed();
  }

  private measured(statistics: Statistics): void {
    const at = performance.now();
    const { transport, rttMs, heartbeatsSent, heartbeatsReturned } = statistics;
    if (transport && this.transport && transport !== this.transport) {
      this.history.mark(at, "path", `now ${NAMES[transport]}`);
    }
    this.transport = transport ?? this.transport;
    this.history.network(at, this.path(statistics), rttMs, heartbeatsSent, heartbeatsReturned);
    this.view.statistics(statistics);
  }

  private path({ transport }: Statistics): PathKind {
    if (this.isHeld()) return "held";
    if (this.state === "uncertain" || this.state === "reconnecting") return "weak";
    return this.state === "ended" || this.state === "connecting" ? "none" : (transport ?? "none");
  }

  private fail(error: unknown): void {
    if (this.keyNeeded) return this.view.failed("unauthorized", "");
    if (error instanceof VoiceError) return this.view.failed(error.code, error.message);
    this.view.failed("server", error instanceof Error ? error.message : String(error));
  }

  /** The server did not do what was asked; the call goes on. */
  private refused(error: unknown): void {
    const { message } = (error ?? {}) as { message?: unknown };
    this.view.failed("refused", String(message ?? "It did not say why."));
  }
}
