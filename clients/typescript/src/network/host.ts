// Everything of a call that only a browser has. Must hold types only.

import type { Attempt } from "../transports/base.ts";
import type { CallMessage } from "./threads.ts";

export interface CallHost {
  /** A monotonic clock in microseconds. */
  now(): number;
  post(message: CallMessage, transfer?: Transferable[]): void;
  webtransport(url: string, hashes: readonly Uint8Array<ArrayBuffer>[]): Attempt;
  websocket(url: string): Attempt;
  fetch(url: string, init: RequestInit): Promise<Response>;
  encodesOpus(rate: number, bitrate: number): Promise<boolean>;
  decodesOpus(): Promise<boolean>;
}
