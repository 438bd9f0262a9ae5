// What the threads of a call say to each other. Ports join them directly:
//
//     capture worklet ──CapturedPiece──► network worker ──PlayerCommand──► playback worklet
//                                             ▲    ▲                          │
//                        main ──CallCommand───┘    └──────PlayerMessage───────┘
//                        main ◄──CallMessage──── network worker
//
// Where the page listens for interruptions itself, the microphone's sound reaches the playback worklet, too.
//
// The main thread only paints: nothing that is heard waits for it. Must hold types only.

import type { PlayerReport } from "../audio/playback-buffer.ts";
import type { VoiceErrorCode } from "../errors.ts";
import type { TransportName } from "../transports/base.ts";
import type { AudioFormat } from "../wire/formats.ts";
import type { JsonObject, Welcome } from "../wire/messages.ts";

/** Everything the network worker has to know about a call. */
export interface CallSettings {
  webtransportUrl: string | null;
  /** It has lost here lately: the WebSocket begins alone, and WebTransport is tried in the course of the call. */
  webtransportLater: boolean;
  websocketUrl: string | null;
  /** Where certificate hashes are published; null if they need not be asked for. */
  discoveryUrl: string | null;
  certificateHashes: Uint8Array<ArrayBuffer>[];
  headStartMs: number;
  hardStopMs: number;
  patienceMs: number;
  input: AudioFormat;
  output: AudioFormat[];
  bitrate: number;
  profile: "auto" | "turn" | "duplex";
  leadMs: number | null;
  groupMs: number;
  client: string;
  plays: boolean;
  /** How long a lost connection is replaced, if the server allows as much; 0 for not at all. */
  resumeMs: number;
  /** Whether a reply ducks as soon as the page itself hears somebody. */
  ducks: boolean;
}

/** From the main thread to the network worker. */
export type CallCommand =
  | { kind: "start"; settings: CallSettings; player: MessagePort | null }
  | { kind: "token"; token: string | null }
  | { kind: "capture"; port: MessagePort }
  | { kind: "audio"; pcm: Int16Array }
  | { kind: "event"; event: JsonObject }
  | { kind: "endUtterance" }
  | { kind: "commit" }
  | { kind: "mute"; muted: boolean }
  | { kind: "interrupt" }
  | { kind: "hold"; held: boolean }
  | { kind: "tap"; wanted: boolean }
  /** The browser says that the network has changed (`moved`), or that the page was asleep. */
  | { kind: "doubt"; moved: boolean }
  | { kind: "close" };

/** What is known of the path to the server: "doubted" is silent for too long, "lost" has no connection that is known to work. */
export type PathState = "sound" | "doubted" | "lost";

/** From the network worker to the main thread. */
export type CallMessage =
  | { kind: "connected"; transport: TransportName; lost: string | null }
  | { kind: "welcome"; welcome: Welcome }
  | { kind: "event"; event: JsonObject }
  | { kind: "replyStarted"; generation: number; itemId: string; responseId: string }
  | { kind: "playback"; report: PlayerReport }
  | { kind: "interrupted"; first: number; last: number }
  | { kind: "ducked"; at: number }
  | { kind: "audio"; generation: number; itemId: string; pcm: Int16Array }
  | { kind: "path"; path: PathState }
  | { kind: "resumed"; welcome: Welcome; continued: boolean; silentMs: number; lostMs: number; transport: TransportName; lost: string | null }
  | { kind: "draining"; inMs: number }
  | { kind: "statistics"; statistics: NetworkStatistics }
  | { kind: "failed"; code: VoiceErrorCode; message: string; fatal: boolean }
  | { kind: "ended"; by: "local" | "peer" | "transport"; code: number; reason: string; unsentMs: number };

export interface NetworkStatistics {
  transport: TransportName | null;
  /** Smoothed, by heartbeats; null before the first. */
  rttMs: number | null;
  heartbeatsSent: number;
  heartbeatsReturned: number;
  inputCodec: string;
  outputCodec: string;
  /** Milliseconds of captured audio: taken from the microphone, and known to have reached the agent. */
  capturedMs: number;
  ackedMs: number;
  bytesReceived: number;
  /** Given to the browser and not taken by the network yet. */
  bytesUnsent: number;
  bufferedMs: number;
  underruns: number;
  /** Whether WebTransport is tried again, at quiet moments, for a call that goes over a WebSocket. */
  retriesWebTransport: boolean;
  /** How often another connection went on with the call. */
  resumes: number;
  /** How often the browser said that the network has changed. */
  pathChanges: number;
  /** Milliseconds of captured audio that were given up, because an outage outlasted what is kept. */
  lostMs: number;
}

/** From the network worker to the playback worklet. */
export type PlayerCommand =
  | { kind: "begin"; generation: number; itemId: string; contentIndex: number }
  | { kind: "audio"; generation: number; pcm: Int16Array }
  | { kind: "complete"; generation: number }
  | { kind: "flush"; first: number; last: number }
  | { kind: "hold"; held: boolean }
  /** Generations begin anew. */
  | { kind: "restart" };

/** From the playback worklet to the network worker. */
export type PlayerMessage =
  | { kind: "reports"; reports: PlayerReport[]; buffered: number; underruns: number }
  /** Somebody may have begun to speak, for which what sounds was held, or has stopped. `at`: milliseconds since 1970. */
  | { kind: "speech"; speaking: boolean; at: number };

/** What the playback worklet has to know from the start: the rate of the replies, and how much of one must be there. */
export interface PlaybackOptions {
  rate: number;
  startMs: number;
}

/** From the main thread to the playback worklet. */
export type SpeakerCommand =
  | { kind: "network"; port: MessagePort }
  | { kind: "latency"; seconds: number }
  | { kind: "end" };

/** From the main thread to the capture worklet. */
export type CaptureCommand = { kind: "network"; port: MessagePort } | { kind: "end" };

/** From the capture worklet to the network worker: 20 ms. */
export type CapturedPiece = { pcm: Int16Array };
