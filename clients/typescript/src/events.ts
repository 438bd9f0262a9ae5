// What a call tells the page, by name; and how a page listens. Must not know where it comes from.

import type { VoiceError } from "./errors.ts";
import type { NetworkStatistics } from "./network/threads.ts";
import type { JsonObject, PlaybackState } from "./wire/messages.ts";

/**
 * "uncertain": nothing was heard of the server for a while, and another connection is made beside this one.
 * "reconnecting": there is no connection, or one that has been silent for 6 s, and another one is looked for. Nothing is lost
 * in either: what is captured and said waits, and what has arrived goes on playing. "leaving": the server will end the call
 * soon.
 */
export type VoiceState = "connecting" | "live" | "uncertain" | "reconnecting" | "leaving" | "ended";

/** How a call went on over another connection. */
export interface Resumption {
  /** False: the server has no such call any more (its window had passed, or it was started anew), and a new one began. */
  continued: boolean;
  transport: "webtransport" | "websocket";
  /** How long nothing had been heard of the server. */
  silentMs: number;
  /** Captured audio that was given up; 0 unless the outage outlasted what is kept. */
  lostMs: number;
}

/** How much of one part of a reply the person has heard. */
export interface PlaybackPosition {
  itemId: string;
  generation: number;
  /** What has left the loudspeaker, its latency included. */
  heardMs: number;
  bufferedMs: number;
  underruns: number;
  state: PlaybackState;
}

export interface Statistics extends NetworkStatistics {
  state: VoiceState;
  /** Why WebTransport is not what carries the call; null if it is. */
  webtransportLost: string | null;
  /** From the worklet to the ear. */
  outputLatencyMs: number;
}

export interface Ending {
  by: "local" | "peer" | "transport";
  /** A close code of wire/SPEC.md, section 14. */
  code: number;
  reason: string;
  /** Captured audio that is not known to have reached the agent. */
  unsentMs: number;
}

export interface VoiceEvents {
  state: { state: VoiceState; before: VoiceState };
  /** An event of the server, in OpenAI Realtime's words. */
  event: JsonObject;
  speaking: { who: "person" | "agent"; active: boolean };
  reply: { generation: number; itemId: string; responseId: string };
  playback: PlaybackPosition;
  /**
   * With `bargeIn: "local"`: a reply went quiet, because somebody may have begun to speak. "interrupted" follows, or it goes
   * on. `at`: when that was heard, in milliseconds since 1970.
   */
  ducked: { at: number };
  /** Replies of these generations were silenced. */
  interrupted: { first: number; last: number };
  /** Decoded audio of a reply as it arrives, ahead of playback; only passed on while somebody listens. */
  audio: { generation: number; itemId: string; pcm: Int16Array; rate: number };
  /** Another connection carries the call. */
  resumed: Resumption;
  statistics: Statistics;
  /** The loudspeaker or the microphone waits for a click, or does so no more. */
  blocked: { blocked: boolean };
  /** Whether it is heard; `muted`: it is not, because the system or the browser mutes it. */
  microphone: { active: boolean; muted: boolean; label: string };
  devices: Devices;
  error: VoiceError;
  ended: Ending;
}

export interface Devices {
  /** Names are empty until the person has allowed a microphone. */
  microphones: { deviceId: string; label: string }[];
  speakers: { deviceId: string; label: string }[];
}

type Listener<T> = (event: T) => void;

/** Those who listen, by the name of what they listen to. */
export class Listeners<Events extends object> {
  private readonly byName = new Map<keyof Events, Set<Listener<never>>>();

  /** Returns how to stop listening. */
  add<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const set = this.byName.get(name) ?? new Set();
    this.byName.set(name, set.add(listener));
    return () => set.delete(listener);
  }

  /** Whoever throws is reported to the page and keeps nobody else from hearing. */
  tell<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.byName.get(name) ?? [])] as Listener<Events[Name]>[]) {
      try {
        listener(event);
      } catch (error) {
        reportError(error);
      }
    }
  }

  any(name: keyof Events): boolean {
    return (this.byName.get(name)?.size ?? 0) > 0;
  }
}
