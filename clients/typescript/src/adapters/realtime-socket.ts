// A call in the shape of a WebSocket that speaks OpenAI Realtime, for programs that were written for one.
//
// Owns what is different: audio travels in events there, and beside them here. Must not know who uses it.
//
//     program ──input_audio_buffer.append──► samples        replies ──response.output_audio.delta──► program
//             ──input_audio_buffer.commit──► commit()
//             ──response.cancel────────────► interrupt()    events ─────────as they are────────────► program
//             ──conversation.item.truncate─► silence, then with the position that was heard
//             ──everything else────────────► as it is

import { VoiceError } from "../errors.ts";
import type { Ending, PlaybackPosition } from "../events.ts";
import type { VoiceSession } from "../session.ts";
import type { JsonObject } from "../wire/messages.ts";
import { fromBase64, toBase64 } from "./base64.ts";

/** What programs send is at this rate, as OpenAI's default format says. */
const RATE = 24_000;
/** Of how many replies it is remembered whose they are. */
const REPLIES_KEPT = 64;
const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

type Handler<Name extends keyof WebSocketEventMap> = ((event: WebSocketEventMap[Name]) => void) | null;

/** `asWebSocket(call)` gives one. */
export class RealtimeSocket extends EventTarget {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSING = CLOSING;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSING = CLOSING;
  readonly CLOSED = CLOSED;
  readonly extensions = "";
  readonly protocol = "realtime";
  binaryType: BinaryType = "blob";
  onopen: Handler<"open"> = null;
  onmessage: Handler<"message"> = null;
  onerror: Handler<"error"> = null;
  onclose: Handler<"close"> = null;
  readyState: 0 | 1 | 2 | 3 = CONNECTING;
  /** What came before the program was told that it is open. */
  private early: JsonObject[] = [];
  /** By generation. */
  private readonly replies = new Map<number, { itemId: string; responseId: string }>();
  private position: PlaybackPosition | null = null;
  private silenced = 0;
  /** Asked for while the item sounds: said when it is known what was heard of it. */
  private truncation: JsonObject | null = null;
  private lastCut = "";
  private numbers = 0;

  constructor(
    readonly call: VoiceSession,
    readonly url: string,
  ) {
    super();
    call.on("event", (event) => this.tell(event));
    call.on("reply", ({ generation, itemId, responseId }) => {
      this.replies.set(generation, { itemId, responseId });
      if (this.replies.size > REPLIES_KEPT) this.replies.delete(Math.min(...this.replies.keys()));
    });
    call.on("audio", ({ generation, pcm }) => this.tellAudio(generation, pcm));
    call.on("playback", (position) => {
      this.position = position;
      this.cut();
    });
    call.on("resumed", ({ continued }) => {
      if (continued) return;
      this.replies.clear();
      this.position = null;
      this.silenced = 0;
    });
    call.on("ended", (ending) => this.ended(ending));
    // A program listens as soon as it has the socket, so not within this very call.
    call.ready.then(
      () => setTimeout(() => this.open()),
      () => this.failed(),
    );
  }

  get bufferedAmount(): number {
    return this.call.statistics().bytesUnsent;
  }

  /** Say an event, as JSON. Throws VoiceError for what is none. */
  send(data: string): void {
    if (this.readyState > OPEN) return;
    const event = parsed(data);
    switch (event.type) {
      case "input_audio_buffer.append":
        return this.append(event["audio"]);
      case "input_audio_buffer.commit":
        return this.call.commit();
      case "response.cancel":
        return this.interrupt();
      case "conversation.item.truncate":
        return this.truncate(event);
      default:
        this.call.send(event);
    }
  }

  /** Hang up. */
  close(): void {
    if (this.readyState >= CLOSING) return;
    this.readyState = CLOSING;
    void this.call.close();
  }

  /** Silence what sounds, and cut it to what was heard; without effect if nothing does. */
  truncateSounding(): void {
    const { position } = this;
    if (!position || position.itemId === this.lastCut) return;
    if (!this.sounding && position.generation > this.silenced) return;
    this.truncate({ type: "conversation.item.truncate", item_id: position.itemId, content_index: 0 });
  }

  private silence(): void {
    if (this.sounding) this.interrupt();
  }

  private get sounding(): boolean {
    const { position } = this;
    return position !== null && position.generation > this.silenced && (position.state === "playing" || position.state === "paused");
  }

  private interrupt(): void {
    this.silenced = Math.max(this.silenced, ...this.replies.keys());
    this.call.interrupt();
  }

  private append(audio: unknown): void {
    if (this.call.inputRate !== RATE) {
      throw new VoiceError("misuse", "samples in events are at 24 kHz: connect with { input: { rate: 24000 } }");
    }
    const pcm = typeof audio === "string" ? fromBase64(audio) : null;
    if (!pcm) throw new VoiceError("misuse", "input_audio_buffer.append needs audio: base64 of 16-bit samples");
    this.call.sendAudio(pcm);
  }

  /** Programs guess by their clock what was heard; of what this call plays, the player knows. */
  private truncate(event: JsonObject): void {
    if (this.position?.itemId !== event["item_id"]) return this.call.send(event);
    this.silence();
    this.truncation = event;
    this.cut();
  }

  private cut(): void {
    const { position, truncation } = this;
    if (this.readyState > OPEN || !truncation || !position || position.itemId !== truncation["item_id"]) return;
    if (position.state !== "stopped" && position.state !== "done") return;
    this.truncation = null;
    this.lastCut = position.itemId;
    this.call.send({ ...truncation, audio_end_ms: Math.floor(position.heardMs) });
  }

  private open(): void {
    if (this.readyState !== CONNECTING) return;
    this.readyState = OPEN;
    this.dispatch("open", new Event("open"));
    for (const event of this.early.splice(0)) this.tell(event);
  }

  private failed(): void {
    if (this.readyState < CLOSED) this.dispatch("error", new Event("error"));
  }

  private ended({ by, code, reason }: Ending): void {
    this.readyState = CLOSED;
    // As a WebSocket would say it: 1006 is a connection that was lost, 4000 and above are an application's own.
    const status = by === "transport" ? 1006 : code === 0 ? 1000 : 4000 + code;
    this.dispatch("close", Object.assign(new Event("close"), { code: status, reason, wasClean: by !== "transport" }));
  }

  private tellAudio(generation: number, pcm: Int16Array): void {
    const reply = this.replies.get(generation);
    if (!reply || generation <= this.silenced) return;
    this.numbers += 1;
    this.tell({
      ...{ type: "response.output_audio.delta", event_id: `event_audio_${this.numbers}` },
      ...{ response_id: reply.responseId, item_id: reply.itemId, output_index: 0, content_index: 0, delta: toBase64(pcm) },
    });
  }

  private tell(event: JsonObject): void {
    if (this.readyState === CONNECTING) this.early.push(event);
    else this.dispatch("message", new MessageEvent("message", { data: JSON.stringify(event) }));
  }

  private dispatch<Name extends keyof WebSocketEventMap>(name: Name, event: Event): void {
    (this[`on${name}`] as ((event: Event) => void) | null)?.(event);
    this.dispatchEvent(event);
  }
}

function parsed(data: unknown): JsonObject {
  try {
    const event: unknown = typeof data === "string" ? JSON.parse(data) : null;
    if (typeof (event as JsonObject | null)?.type === "string") return event as JsonObject;
  } catch {
    // Said below.
  }
  throw new VoiceError("misuse", 'what is sent is an event as JSON: {"type": ...}');
}
