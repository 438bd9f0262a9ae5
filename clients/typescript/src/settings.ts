// What a page may choose about a call, and what follows from it. Judged at once: a mistake is told in the very call.

import { VoiceError } from "./errors.ts";
import { DISCOVERY_PATH, digest } from "./network/discovery.ts";
import type { CallSettings } from "./network/threads.ts";
import { SESSION_PATH } from "./wire/codes.ts";
import { audioFormat, type AudioFormat, type Codec } from "./wire/formats.ts";

/** A key or client secret, or how to get one. Called while the connection is made. */
export type Token = string | null | (() => string | null | Promise<string | null>);

export interface MicrophoneOptions {
  /** As in `devices()`; the browser's choice by default. */
  deviceId?: string;
  /** Remove what the loudspeaker plays. Default true. */
  echoCancellation?: boolean;
  /** Both change the signal that a recogniser gets. Default false. */
  noiseSuppression?: boolean;
  autoGainControl?: boolean;
}

/** Where the code of the other threads is, for pages whose Content-Security-Policy forbids `blob:`. */
export interface ThreadUrls {
  worker: string | URL;
  capture: string | URL;
  playback: string | URL;
}

export interface ConnectOptions {
  token?: Token;
  /** What is sent. Default: Opus at 16 kHz, 32 kbit/s, PCM where the browser has no encoder. `pcm16` is lossless. */
  input?: { codec?: "opus" | "pcm16"; rate?: number; bitrate?: number };
  /** What is played. Default: Opus at 24 kHz, or PCM. */
  output?: { codec?: "opus" | "pcm16"; rate?: number };
  profile?: "auto" | "turn" | "duplex";
  /** How far a reply may run ahead of its playback. Default 30 s. */
  leadMs?: number;
  /** How much of a reply must be here before it starts. Default 40 ms. */
  startMs?: number;
  /** How much captured audio shares a stream. Default 10 s. */
  groupMs?: number;
  /** Default "auto": WebTransport, and a WebSocket where that does not get through. */
  transport?: "auto" | "webtransport" | "websocket";
  /** Another address for the WebSocket than that of WebTransport. */
  websocketUrl?: string | URL;
  /** Let WebKit use WebTransport, which stalls there after some minutes (WebKit bug 319818). Default false. */
  webkitWebTransport?: boolean;
  /** SHA-256 digests, base64 or hex: no other certificate is trusted by WebTransport. */
  certificateHashes?: readonly string[];
  /** Ask the server for its certificate hashes first. Default: for servers on this machine and on private addresses. */
  discover?: boolean;
  /**
   * Who notices first that somebody speaks into a reply. "server" (default): its flush silences the reply. "local": the
   * page goes quiet at the first sound and waits for the server's word, and goes on from the very sample if it was none.
   */
  bargeIn?: "server" | "local";
  /**
   * How long a lost connection is replaced before the call is given up, if the server allows as much. Default 60 s; 0 for
   * not at all. Not without a speaker: nobody would know what was heard.
   */
  resumeMs?: number;
  /** Play replies. Default true; false for pages that do so themselves with "audio" events. */
  speaker?: boolean;
  threads?: ThreadUrls;
  /** Name and version of the page, for the server's log. */
  client?: string;
}

/** How past calls bear on the race. */
export interface RaceOdds {
  /** WebTransport did not get through a while ago. */
  lostLately: boolean;
  headStartMs: number;
}

const HARD_STOP_MS = 3_000;
const PATIENCE_MS = 10_000;
const BITRATE = 32_000;

/**
 * The settings of a call to `url`; `able`: whether this browser's WebTransport is used where nobody asks for it. Throws
 * VoiceError for what cannot be meant.
 */
export function callSettings(
  url: string | URL,
  options: ConnectOptions,
  odds: RaceOdds,
  able: boolean,
  base?: string,
): CallSettings {
  const target = address(url, base);
  const transport = options.transport ?? "auto";
  const input = format("input", options.input?.codec ?? "opus", options.input?.rate ?? 16_000);
  const rate = options.output?.rate ?? 24_000;
  const offered: Codec[] = (options.output?.codec ?? "opus") === "opus" ? ["opus", "pcm16"] : ["pcm16"];
  const discover = options.discover ?? isPrivate(target.hostname);
  return {
    webtransportUrl: transport !== "websocket" && (able || transport === "webtransport") ? target.href : null,
    webtransportLater: odds.lostLately && transport === "auto",
    websocketUrl: transport !== "webtransport" ? websocketAddress(options.websocketUrl ?? target, base) : null,
    discoveryUrl: discover ? new URL(DISCOVERY_PATH, target).href : null,
    certificateHashes: (options.certificateHashes ?? []).map(hash),
    headStartMs: odds.headStartMs,
    hardStopMs: HARD_STOP_MS,
    patienceMs: PATIENCE_MS,
    input,
    output: offered.map((codec) => format("output", codec, rate)),
    bitrate: number("input.bitrate", options.input?.bitrate ?? BITRATE, 6_000, 510_000),
    profile: options.profile ?? "auto",
    leadMs: number("leadMs", options.leadMs ?? 30_000, 1, 600_000),
    groupMs: number("groupMs", options.groupMs ?? 10_000, 20, 60_000),
    client: options.client ?? "legato-voice",
    resumeMs: number("resumeMs", options.resumeMs ?? 60_000, 0, 3_600_000),
    plays: options.speaker !== false,
    ducks: options.bargeIn === "local" && options.speaker !== false,
  };
}

/** How much of a reply must be here before it starts. */
export function startMs(options: ConnectOptions): number {
  return number("startMs", options.startMs ?? 40, 0, 10_000);
}

function address(url: string | URL, base?: string): URL {
  let target: URL;
  try {
    target = new URL(url, base);
  } catch {
    throw new VoiceError("bad-address", `${String(url)} is no address of a voice server: use https://host:port`);
  }
  if (target.protocol === "wss:") target.protocol = "https:";
  if (target.protocol !== "https:" || target.username || target.hash) {
    throw new VoiceError("bad-address", `${target.href} is no address of a voice server: use https://host:port`);
  }
  if (target.pathname === "/") target.pathname = SESSION_PATH;
  return target;
}

function websocketAddress(url: string | URL, base?: string): string {
  const target = address(url, base);
  return target.href.replace(/^https:/, "wss:");
}

function format(member: string, codec: Codec, rate: number): AudioFormat {
  try {
    return audioFormat(codec, rate);
  } catch (error) {
    throw new VoiceError("misuse", `${member}: ${(error as Error).message}; use 16000, 24000 or 48000 Hz`);
  }
}

function number(member: string, value: number, low: number, high: number): number {
  if (Number.isFinite(value) && value >= low && value <= high) return value;
  throw new VoiceError("misuse", `${member} lies between ${low} and ${high}; ${value} does not`);
}

function hash(text: string): Uint8Array<ArrayBuffer> {
  try {
    return digest(text);
  } catch (error) {
    throw new VoiceError("misuse", `certificateHashes: ${(error as Error).message}`);
  }
}

/** Whether a host is this machine, or of a private network, so that its certificate may be one for development. */
function isPrivate(host: string): boolean {
  return (
    /^(localhost|.*\.(localhost|local))$/.test(host) ||
    /^(127|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01]))\./.test(host) ||
    /^\[(::1|f[cd]|fe80)/.test(host)
  );
}
