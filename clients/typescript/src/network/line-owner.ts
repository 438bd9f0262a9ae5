// What a line asks of the call that it carries, and tells it. Must hold types only.

import type { ClientSession } from "../core/client-session.ts";
import type { Event } from "../core/outputs.ts";
import type { Winner } from "../transports/race.ts";
import type { Hello, Welcome } from "../wire/messages.ts";
import type { PathState } from "./threads.ts";

/** How a call went on over another connection. */
export interface Resumption {
  /** False: the server has no such call any more, and a new one began. */
  continued: boolean;
  /** How long nothing had been heard of the server. */
  silentUs: number;
  /** Captured samples that were given up. */
  lost: number;
  /** Why WebTransport is not what carries the call now; null if it is, or took no part. */
  webtransportLost: string | null;
}

/** Who makes the call. */
export interface LineOwner {
  hello(): Hello;
  /** Say on this session from now on. */
  attach(session: ClientSession | null): void;
  connected(winner: Winner): void;
  welcomed(welcome: Welcome): void;
  resumed(how: Resumption, welcome: Welcome): void;
  path(state: PathState): void;
  /** Whether nobody speaks, and nothing is being answered. */
  pausing(): boolean;
  /** Whether nobody speaks, and nothing sounds. */
  quiet(): boolean;
  /** Everything else that sessions report. */
  react(event: Event): void;
  failedToConnect(error: unknown): void;
  /** Ask anew how the server shows that it is the one: another may stand in its place. */
  lookUp(): Promise<void>;
}
