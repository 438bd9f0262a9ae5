// Replies on their way to the loudspeaker, and the player's reports on their way back.
//
// Owns the decoders of the replies under way. Must not know the session or the transport.

import type { PlayerReport } from "../audio/playback-buffer.ts";
import { replyDecoder, type ReplyDecoder } from "../audio/reply-decoder.ts";
import type { Event } from "../core/outputs.ts";
import { RemoteProtocolError } from "../errors.ts";
import { SessionCode } from "../wire/codes.ts";
import type { PlaybackState, ReplyHeader } from "../wire/messages.ts";
import type { CallMessage, PlayerCommand, PlayerMessage } from "./threads.ts";

/** How much may wait for the loudspeaker: more than any lead that a page can ask for. */
const WAITING_MAX_S = 900;

/** A reply of which the player is expected to tell. */
interface Expected {
  readonly itemId: string;
  readonly rate: number;
  /** Position of the record that came last. */
  reached: number;
}

/** What the player tells. */
export interface PlayerListener {
  report(reports: PlayerReport[]): void;
  /** Somebody may have begun to speak into what sounds, or has stopped; `at` in milliseconds since 1970. */
  speech(speaking: boolean, at: number): void;
}

type Post = (message: CallMessage, transfer?: Transferable[]) => void;

export class Replies {
  buffered = 0;
  underruns = 0;
  /** The generation that sounds at the moment. */
  audible: number | null = null;
  /** Whether decoded audio is passed to the main thread as well. */
  tapped = false;
  private readonly live = new Map<number, ReplyDecoder>();
  /** By generation. */
  private readonly expected = new Map<number, Expected>();
  /** Samples that came since the player told how many wait. */
  private since = 0;

  /** Without a `player`, replies are decoded for whoever taps them, and nothing is reported. */
  constructor(
    private readonly player: MessagePort | null,
    private readonly post: Post,
    listener: PlayerListener,
  ) {
    if (!player) return;
    player.onmessage = ({ data }: MessageEvent<PlayerMessage>) => {
      if (data.kind === "speech") return listener.speech(data.speaking, data.at);
      this.buffered = data.buffered;
      this.underruns = data.underruns;
      this.since = 0;
      // What was under way when another call began is no report on that one's replies.
      const reports = data.reports.filter(({ generation, itemId }) => this.expected.get(generation)?.itemId === itemId);
      for (const { generation, state } of reports) this.note(generation, state);
      listener.report(reports);
    };
  }

  /** Take what a session says about replies; throws RemoteProtocolError for more than can be held. */
  take(event: Event): void {
    switch (event.kind) {
      case "replyStarted":
        return this.begin(event.header);
      case "replyAudio":
        return this.hear(event.generation, event.offset, event.payload);
      case "replyEnded":
        return this.live.get(event.generation)?.end();
      case "flushed":
        return this.flush(event.first, event.generation);
      default:
    }
  }

  /** Silence everything that has begun, at once. */
  interrupt(): void {
    if (this.live.size) this.flush(Math.min(...this.live.keys()), Math.max(...this.live.keys()));
  }

  /** Go quiet and wait, or go on from the very sample. */
  hold(held: boolean): void {
    this.tell({ kind: "hold", held });
  }

  /** Silence, for good. */
  close(): void {
    this.tell({ kind: "flush", first: 1, last: Number.MAX_SAFE_INTEGER });
    for (const decoder of this.live.values()) decoder.close();
    this.live.clear();
  }

  /** Another call begins: nothing of this one is played any more. */
  restart(): void {
    this.interrupt();
    this.expected.clear();
    this.since = 0;
    this.audible = null;
    this.tell({ kind: "restart" });
  }

  private note(generation: number, state: PlaybackState): void {
    if (state === "playing") this.audible = generation;
    else if (state !== "paused" && this.audible === generation) this.audible = null;
    if (state === "done") this.live.delete(generation);
    if (state === "done" || state === "stopped") this.expected.delete(generation);
  }

  private begin({ generation, item_id: itemId, response_id: responseId, content_index, format }: ReplyHeader): void {
    const sink = {
      deliver: (pcm: Int16Array) => this.deliver(generation, itemId, pcm),
      ended: () => {
        this.tell({ kind: "complete", generation });
        if (!this.player) this.live.delete(generation);
      },
    };
    this.live.set(generation, replyDecoder(format, sink));
    if (this.player) this.expected.set(generation, { itemId, rate: format.rate, reached: 0 });
    this.tell({ kind: "begin", generation, itemId, contentIndex: content_index });
    this.post({ kind: "replyStarted", generation, itemId, responseId });
  }

  private hear(generation: number, offset: number, payload: Uint8Array): void {
    const decoder = this.live.get(generation);
    const expected = this.expected.get(generation);
    if (decoder && expected) {
      this.since += offset - expected.reached;
      expected.reached = offset;
      if (this.buffered + this.since > WAITING_MAX_S * expected.rate) {
        throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "replies run too far ahead of what is played");
      }
    }
    decoder?.take(offset, payload);
  }

  private deliver(generation: number, itemId: string, pcm: Int16Array): void {
    if (this.tapped) {
      const copy = pcm.slice();
      this.post({ kind: "audio", generation, itemId, pcm: copy }, [copy.buffer]);
    }
    this.tell({ kind: "audio", generation, pcm }, [pcm.buffer]);
  }

  private flush(first: number, last: number): void {
    this.tell({ kind: "flush", first, last });
    const stale = [...this.live.keys()].filter((generation) => first <= generation && generation <= last);
    for (const generation of stale) {
      this.live.get(generation)!.close();
      this.live.delete(generation);
    }
    // A flush that only confirms what was silenced here already is no second interruption.
    if (stale.length) this.post({ kind: "interrupted", first: Math.min(...stale), last: Math.max(...stale) });
  }

  private tell(command: PlayerCommand, transfer: Transferable[] = []): void {
    this.player?.postMessage(command, transfer);
  }
}
