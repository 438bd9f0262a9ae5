// The usual call of a test: its settings, and everything of it that only a browser has.

import type { CallHost } from "../src/network/host.ts";
import type { CallMessage, CallSettings } from "../src/network/threads.ts";

export const PCM = { codec: "pcm16", rate: 16_000, channels: 1 } as const;

export const CALL_SETTINGS: CallSettings = {
  webtransportUrl: "https://voice.example/legato/v1",
  webtransportLater: false,
  websocketUrl: "wss://voice.example/legato/v1",
  discoveryUrl: null,
  certificateHashes: [],
  headStartMs: 300,
  hardStopMs: 3_000,
  patienceMs: 10_000,
  input: PCM,
  output: [PCM],
  bitrate: 32_000,
  profile: "auto",
  leadMs: 30_000,
  groupMs: 10_000,
  client: "test",
  plays: true,
  resumeMs: 60_000,
  ducks: false,
};

/** A server that publishes these hashes of its certificates. */
export const publishing =
  (...hashes: Uint8Array[]): CallHost["fetch"] =>
  async () => {
    const certificate_hashes = hashes.map((hash) => ({ algorithm: "sha-256", value: btoa(String.fromCharCode(...hash)) }));
    return new Response(JSON.stringify({ certificate_hashes }));
  };

/** A host in virtual time, with every codec, that notes what is posted. */
export function callHost(posted: CallMessage[], transports: Pick<CallHost, "webtransport" | "websocket">): CallHost {
  return {
    ...transports,
    now: () => Date.now() * 1_000,
    post: (message) => void posted.push(message),
    fetch: () => Promise.reject(new Error("not to be asked")),
    encodesOpus: async () => true,
    decodesOpus: async () => true,
  };
}
