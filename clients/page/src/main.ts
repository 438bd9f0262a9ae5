// The page: joins its elements, its calls and the picture of them. Everything starts inside a click.

import { VoiceError, type Ending, type Statistics } from "legato-voice";

import { PageCall, type CallView } from "./call.ts";
import { Conversation } from "./conversation.ts";
import { History } from "./history.ts";
import { enterKey, forgetKey, keyForCall } from "./key.ts";
import { NetworkSwitch } from "./network.ts";
import { CONDITIONS, problem, type Problem } from "./problems.ts";
import { find, Settings } from "./settings.ts";
import { Timeline } from "./timeline.ts";
import { Transcript } from "./transcript.ts";
import { compromises, NAMES } from "./words.ts";

/** The picture moves as often as that; more is not seen, and costs phones their batteries. */
const FRAME_MS = 33;
const LABEL_EVERY_MS = 5_000;

// Firefox waits for the sound server when it is asked how late a loudspeaker is, on PulseAudio now and then for good, and
// the page with it. Told nothing, the package takes what most devices need.
if (typeof AudioContext !== "undefined" && /\bGecko\/\d/.test(navigator.userAgent)) {
  Object.defineProperty(AudioContext.prototype, "outputLatency", { get: () => 0 });
}

class Page implements CallView {
  private readonly root = document.documentElement;
  private readonly history = new History();
  private readonly network = new NetworkSwitch();
  private readonly timeline = new Timeline(find("timeline"), this.history);
  private readonly transcript = new Transcript(find("transcript"), find("said"));
  private readonly settings: Settings;
  private conversation = new Conversation();
  private call: PageCall | null = null;
  /** The last one, which may still be heard. */
  private past: PageCall | null = null;
  private trouble: { code: string; problem: Problem } | null = null;
  private isBlocked = false;
  private readonly ring = document.querySelector<HTMLElement>(".ring")!;
  private painted = 0;
  private labelled = 0;
  private news = false;
  private wakeLock: Promise<WakeLockSentinel> | null = null;

  constructor() {
    this.settings = new Settings({
      microphone: () => void this.call?.useMicrophone(this.settings.microphone),
      speaker: (id) => void this.call?.session.useSpeaker(id).catch((error: unknown) => this.report(error)),
      theme: () => this.timeline.restyle(),
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.timeline.restyle());
    this.bind();
    this.changed();
    requestAnimationFrame((at) => this.frame(at));
  }

  // What a call tells

  changed(): void {
    const state = this.call?.state ?? "idle";
    this.root.dataset.state = state;
    const live = this.call !== null;
    find("talk-label").textContent = live ? "Hang up" : "Talk";
    find("status-text").textContent = this.words(state);
    find<HTMLButtonElement>("mute").disabled = !live;
    find("mute").setAttribute("aria-pressed", String(this.call?.muted ?? false));
    find("mute").lastElementChild!.textContent = this.call?.muted ? "Muted" : "Mute";
    find<HTMLButtonElement>("interrupt").disabled = this.call?.speaking !== "agent";
    find<HTMLButtonElement>("hold").disabled = !live;
    find("hold").setAttribute("aria-pressed", String(this.network.held));
    find("hold").textContent = this.network.held ? "Resume network" : "Pause network";
    const speechless = this.trouble?.code.startsWith("microphone") || this.trouble?.code === "no-microphone";
    if (speechless && this.call?.microphoneActive) this.trouble = null;
    // Whoever has begun to type may go on, whatever becomes of the notice.
    if (speechless && live) find("typing").hidden = false;
    if (!live || this.call?.microphoneActive) find("typing").hidden = true;
    find("intro").hidden = this.conversation.turns.length > 0;
    this.notice(state);
  }

  /** Painted with the next picture: reports come more often than anybody reads. */
  spoken(): void {
    this.news = true;
  }

  statistics(statistics: Statistics): void {
    const { transport, rttMs, bufferedMs } = statistics;
    find("fact-transport").textContent = transport ? NAMES[transport] : "–";
    const why = compromises(statistics, this.forced);
    find("why").textContent = why;
    find("why").hidden = !why;
    find("fact-rtt").textContent = rttMs === null ? "–" : `${rttMs < 10 ? rttMs.toFixed(1) : Math.round(rttMs)} ms`;
    const loss = this.history.loss(performance.now());
    find("fact-loss").textContent = loss === null ? "–" : `${Math.round(loss * 100)} %`;
    find("fact-buffered").textContent = `${(bufferedMs / 1_000).toFixed(1)} s`;
  }

  failed(code: string, message: string): void {
    if (code === "unauthorized") forgetKey();
    const known = code === "refused" ? { title: "The server did not do that", help: message, action: null } : problem(code, message);
    this.trouble = { code, problem: known };
    // For whoever looks closer than the words for everybody.
    console.warn(`${code}: ${message}`);
    this.changed();
  }

  blocked(blocked: boolean): void {
    this.isBlocked = blocked;
    this.changed();
  }

  ended({ by, code, reason }: Ending): void {
    if (by === "peer" && code === 0 && !this.trouble) this.trouble = { code: "closed", problem: problem("closed", reason) };
    this.past = this.call;
    this.call = null;
    this.network.hold(false);
    void this.wakeLock?.then((lock) => lock.release()).catch(() => {});
    this.wakeLock = null;
    for (const name of ["transport", "rtt", "loss", "buffered"]) find(`fact-${name}`).textContent = "–";
    find("why").hidden = true;
    this.history.network(performance.now(), "none", null, 0, 0);
    this.spoken();
    this.changed();
  }

  // What a person does

  private bind(): void {
    find("talk").addEventListener("click", () => (this.call ? void this.call.session.close() : this.begin()));
    find("mute").addEventListener("click", () => this.call?.mute(!this.call.muted));
    find("interrupt").addEventListener("click", () => this.call?.session.interrupt());
    find("hold").addEventListener("click", () => {
      this.network.hold(!this.network.held);
      this.changed();
    });
    for (const choice of document.querySelectorAll<HTMLInputElement>('input[name="transport"]')) {
      choice.addEventListener("change", () => void this.again());
    }
    find("notice-action").addEventListener("click", () => this.act());
    find("notice-close").addEventListener("click", () => {
      this.trouble = null;
      this.changed();
    });
    find("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = find<HTMLInputElement>("key");
      enterKey(field.value);
      field.value = "";
      this.begin();
    });
    find("typing").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = find<HTMLInputElement>("typed");
      if (field.value.trim()) this.call?.write(field.value.trim());
      field.value = "";
    });
    addEventListener("keydown", (event) => this.key(event));
    // Who closes the tab hangs up; who may come back to it does not.
    addEventListener("pagehide", ({ persisted }) => persisted || void this.call?.session.close());
    for (const name of ["online", "offline"]) addEventListener(name, () => this.changed());
  }

  private key(event: KeyboardEvent): void {
    const writing = event.target instanceof HTMLInputElement && event.target.type !== "radio" && event.target.type !== "checkbox";
    if (writing || this.settings.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") this.call?.session.interrupt();
    else if (event.key.toLowerCase() === "m" && !event.repeat) this.call?.mute(!this.call.muted);
  }

  /** Call; inside a click. */
  private begin(): void {
    void this.past?.session.close();
    this.past = null;
    this.trouble = null;
    this.isBlocked = false;
    this.conversation = new Conversation();
    this.history.restart();
    this.transcript.clear();
    const options = {
      ...{ token: keyForCall, threads: this.network.threads, bargeIn: this.settings.bargeIn, client: "legato page" },
      transport: this.forced ? ("websocket" as const) : ("auto" as const),
    };
    try {
      this.call = new PageCall(options, this.conversation, this.history, this, () => this.network.held);
    } catch (error) {
      return this.report(error);
    }
    void this.call.useMicrophone(this.settings.microphone);
    if (this.settings.speaker) void this.call.session.useSpeaker(this.settings.speaker).catch((error: unknown) => this.report(error));
    this.wakeLock = navigator.wakeLock?.request("screen") ?? null;
    this.wakeLock?.catch(() => {});
    this.changed();
  }

  /** Whether the person wants no UDP. */
  private get forced(): boolean {
    return document.querySelector<HTMLInputElement>('input[name="transport"]:checked')?.value === "websocket";
  }

  /** The same in a new call; a choice of transport is one for a whole call. */
  private async again(): Promise<void> {
    if (!this.call) return;
    await this.call.session.close();
    this.begin();
  }

  private act(): void {
    const does = this.trouble?.problem.action?.does;
    if (does === "reload") return location.reload();
    if (does === "key") return this.askForKey();
    if (does === "call") return this.call ? void this.again() : this.begin();
    this.trouble = null;
    void this.call?.useMicrophone(this.settings.microphone);
    this.changed();
  }

  private askForKey(): void {
    find("key-form").hidden = false;
    find("notice-action").hidden = true;
    find("key").focus();
  }

  private report(error: unknown): void {
    if (error instanceof VoiceError) this.failed(error.code, error.message);
    else this.failed("unsupported-browser", String(error));
  }

  // What is shown

  private words(state: string): string {
    if (!this.call) return "Ready";
    if (state === "connecting") return "Connecting…";
    if ((state === "uncertain" || state === "reconnecting") && this.network.held) return "Network paused";
    if (state === "reconnecting") return "Reconnecting…";
    if (state === "uncertain") return "The network is silent";
    if (this.call.speaking === "agent") return "Answering";
    if (this.call.muted) return "Muted";
    if (this.call.speaking === "person") return "Hearing you";
    return this.call.microphoneActive ? "Listening" : "No microphone";
  }

  private notice(state: string): void {
    const shown: Problem | null = this.trouble?.problem ?? this.condition(state);
    const [title, help] = [find("notice-title"), find("notice-help")];
    find("notice").hidden = shown === null;
    if (shown === null) return;
    // Said again, it would be read out again.
    if (title.textContent !== shown.title) title.textContent = shown.title;
    if (help.textContent !== shown.help) help.textContent = shown.help;
    // A condition goes by itself.
    find("notice-close").hidden = this.trouble === null;
    const asks = shown.action?.does === "key";
    if (!asks) find("key-form").hidden = true;
    const action = find<HTMLButtonElement>("notice-action");
    action.hidden = shown.action === null || (asks && !find("key-form").hidden);
    action.textContent = shown.action?.label ?? "";
  }

  private condition(state: string): Problem | null {
    if (!this.call) return null;
    if (this.isBlocked) return CONDITIONS.blocked;
    if (!navigator.onLine) return CONDITIONS.offline;
    if (state === "reconnecting") return CONDITIONS.reconnecting;
    if (state === "uncertain") return CONDITIONS.silent;
    if (state === "leaving") return CONDITIONS.leaving;
    return this.call.microphoneMuted ? CONDITIONS.silenced : null;
  }

  private frame(at: number): void {
    requestAnimationFrame((next) => this.frame(next));
    if (at - this.painted < FRAME_MS) return;
    this.painted = at;
    const now = performance.now();
    if (this.call) {
      const level = this.call.voiceLevel;
      this.history.heard(now, level);
      this.ring.style.setProperty("--voice", Math.min(1, Math.sqrt(level) * 1.2).toFixed(2));
    }
    this.history.forget(now);
    if (this.news) {
      this.news = false;
      const { turns } = this.conversation;
      this.transcript.show(turns);
      find("intro").hidden = turns.length > 0;
    }
    this.timeline.paint(now);
    if (now - this.labelled > LABEL_EVERY_MS) this.label(now);
  }

  /** The picture in words. */
  private label(now: number): void {
    this.labelled = now;
    const facts = ["transport", "rtt", "loss", "buffered"].map((name) => find(`fact-${name}`).textContent);
    const [transport, rtt, loss, buffered] = facts;
    const label = this.call ? `Timeline: ${transport}, round trip ${rtt}, ${loss} lost, ${buffered} buffered` : "Timeline: no call";
    find("timeline").setAttribute("aria-label", label);
  }
}

new Page();
