// The network worker: where a call lives, away from a page that may be busy. Owns only what a worker gives.

import { encodesOpus } from "../audio/capture-encoder.ts";
import { decodesOpus } from "../audio/reply-decoder.ts";
import { WebSocketTransport } from "../transports/websocket.ts";
import { WebTransportTransport } from "../transports/webtransport.ts";
import { Call } from "./call.ts";
import type { CallHost } from "./host.ts";
import type { CallCommand } from "./threads.ts";

/** What this file uses of a worker's global scope, which TypeScript declares in a library of its own. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<CallCommand>) => void) | null;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;

const host: CallHost = {
  now: () => Math.round(performance.now() * 1_000),
  post: (message, transfer = []) => scope.postMessage(message, transfer),
  webtransport: (url, hashes) => {
    if (typeof WebTransport === "undefined") throw new Error("this browser has no WebTransport");
    return WebTransportTransport.connect(url, hashes);
  },
  websocket: (url) => WebSocketTransport.connect(() => WebSocketTransport.socket(url)),
  fetch: (url, init) => fetch(url, init),
  encodesOpus,
  decodesOpus,
};

let call: Call | null = null;

scope.onmessage = ({ data }) => {
  if (data.kind === "start") {
    call = new Call(data.settings, data.player, host);
    void call.start();
  } else {
    call?.command(data);
  }
};
