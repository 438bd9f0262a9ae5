// What becomes of a call on its network, in words. Must not know how it comes about.

import type { Resumption, Statistics } from "legato-voice";

/** A silence that nobody notices. */
const SHORT_MS = 500;

export const NAMES = { webtransport: "WebTransport", websocket: "WebSocket" } as const;

/** How a call went on, in a few words; `before` carried it until then. */
export function resumption({ continued, transport, silentMs, lostMs }: Resumption, before: Statistics["transport"]): string {
  const noticed = silentMs >= SHORT_MS;
  const back = continued && !noticed && transport === "webtransport" && before === "websocket";
  if (back) return "back on WebTransport";
  const after = noticed ? ` after ${(silentMs / 1_000).toFixed(1)} s` : "";
  const lost = lostMs ? `, ${(lostMs / 1_000).toFixed(1)} s lost` : "";
  return `${NAMES[transport]}: ${continued ? "resumed" : "a new call"}${after}${lost}`;
}

/** Why a call is not what it could be, in a sentence or two; nothing if it is. `forced`: the person wants no UDP. */
export function compromises(
  call: Pick<Statistics, "transport" | "webtransportLost" | "retriesWebTransport" | "inputCodec">,
  forced: boolean,
): string {
  const { transport, webtransportLost, retriesWebTransport, inputCodec } = call;
  const said: string[] = [];
  if (transport === "websocket" && !forced) {
    const why =
      typeof WebTransport === "undefined"
        ? "This browser has no WebTransport"
        : webtransportLost
          ? `UDP did not get through (${webtransportLost})`
          : retriesWebTransport
            ? "UDP did not get through here a while ago"
            : "This browser's WebTransport is not to be relied on";
    said.push(`${why}: the call goes over a WebSocket, where a lost packet delays those behind it.`);
    if (retriesWebTransport) said.push("At quiet moments it tries to go back to WebTransport.");
  }
  if (inputCodec === "pcm16") said.push("This browser does not encode Opus: samples are sent as they are, ten times as many bytes.");
  return said.join(" ");
}
