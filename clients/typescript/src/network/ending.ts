// Why a call failed or ended, in words that help. Must not know how that came about.

import type { VoiceErrorCode } from "../errors.ts";
import type { Party } from "../core/outputs.ts";
import { RaceLost } from "../transports/race.ts";
import { SessionCode } from "../wire/codes.ts";
import type { Welcome } from "../wire/messages.ts";

export interface Failure {
  code: VoiceErrorCode;
  message: string;
}

const BY_CODE: Readonly<Record<number, VoiceErrorCode>> = {
  [SessionCode.GOING_AWAY]: "lost",
  [SessionCode.PROTOCOL_VIOLATION]: "protocol",
  [SessionCode.UNSUPPORTED_VERSION]: "version",
  [SessionCode.UNSUPPORTED_FORMAT]: "format",
  [SessionCode.UNAUTHORIZED]: "unauthorized",
  [SessionCode.LIMIT_EXCEEDED]: "protocol",
  [SessionCode.HELLO_TIMEOUT]: "unreachable",
  [SessionCode.OVERLOADED]: "overloaded",
  [SessionCode.REPLACED]: "lost",
};

const WORDS: Readonly<Partial<Record<VoiceErrorCode, string>>> = {
  lost: "The connection was lost.",
  protocol: "The server and this page do not understand each other.",
  version: "The server speaks another version of the protocol: update the page or the server.",
  format: "The server takes none of the audio formats of this page.",
  unauthorized: "The server wants a valid token: the one shown is missing, wrong or expired.",
  unreachable: "The server accepted the connection and said nothing.",
  overloaded: "The server takes no more calls at the moment.",
  server: "The server had a problem.",
};

/** The failure in the end of a session; null if it was just over. */
export function failureOf(by: Party, code: number, reason: string): Failure | null {
  if (by !== "transport" && code === SessionCode.NO_ERROR) return null;
  if (by === "local" && code === SessionCode.INTERNAL_ERROR) return { code: "unsupported-browser", message: reason };
  const kind = by === "transport" ? "lost" : (BY_CODE[code] ?? "server");
  return { code: kind, message: reason ? `${WORDS[kind]} (${reason})` : WORDS[kind]! };
}

/** A connection that was lost and not replaced, with what that cost. */
export function lossOf(reason: string, { resume_ticket, resume_ttl_ms }: Welcome, unsentMs: number): Failure {
  const window = resume_ticket ? ` and did not come back within ${Math.round(resume_ttl_ms / 1_000)} s` : "";
  const unsent = unsentMs ? ` The last ${(unsentMs / 1_000).toFixed(1)} s of what was said may not have arrived.` : "";
  return { code: "lost", message: `The connection was lost${window}.${unsent}${reason && ` (${reason})`}` };
}

/** Why no connection came about. `published` are the server's hashes as of now, if it could be asked. */
export function failureToConnect(error: unknown, host: string, pinned: boolean, changed: boolean): Failure {
  const said = error instanceof Error ? error.message : String(error);
  if (changed) {
    const message = `The certificate of ${host} is not the one this page expects: its hash has changed. Reload the page.`;
    return { code: "certificate", message };
  }
  const blocked = error instanceof RaceLost && /no answer within/.test(error.webtransport ?? "");
  const causes = [
    "nothing listens there",
    blocked ? "a firewall lets neither UDP nor the WebSocket through" : "a proxy or firewall is in the way",
    pinned ? "its certificate is not the expected one, or has expired (development certificates change every few days)" : "its certificate is not trusted",
  ];
  return { code: "unreachable", message: `${host} cannot be reached: ${causes.join(", or ")}. (${said})` };
}
