// What can go wrong, in words for whoever talks. Owns the words; must not know how problems come about.

import type { VoiceErrorCode } from "legato-voice";

export interface Problem {
  readonly title: string;
  readonly help: string;
  /** What a button next to it does. */
  readonly action: { readonly label: string; readonly does: "call" | "microphone" | "key" | "reload" } | null;
}

const again = { label: "Call again", does: "call" } as const;
const retry = { label: "Try the microphone again", does: "microphone" } as const;
const reload = { label: "Reload the page", does: "reload" } as const;
const TYPE_MEANWHILE = "You can type meanwhile.";

/** Words for every code of the package. */
export const PROBLEMS: Readonly<Record<VoiceErrorCode, Problem>> = {
  "no-microphone": {
    title: "There is no microphone",
    help: `Plug one in, or choose another in the settings. ${TYPE_MEANWHILE}`,
    action: retry,
  },
  "microphone-denied": {
    title: "The microphone is not allowed",
    help: `Allow it at the left end of the address bar, and in your system's privacy settings. ${TYPE_MEANWHILE}`,
    action: retry,
  },
  "microphone-busy": {
    title: "The microphone is in use",
    help: `Another program has it. Close that program, or choose another microphone. ${TYPE_MEANWHILE}`,
    action: retry,
  },
  "microphone-lost": {
    title: "The microphone is gone",
    help: `It was unplugged or taken away; the call goes on. Plug it in again, or use another. ${TYPE_MEANWHILE}`,
    action: retry,
  },
  "insecure-page": {
    title: "This page is not secure",
    help: "Browsers give a microphone to pages of https:// and of localhost only. Open the address that the server printed.",
    action: null,
  },
  "unsupported-browser": {
    title: "This browser is too old for calls",
    help: "Audio worklets and workers are needed: use Chrome or Edge from 107 on, Firefox from 114 on, Safari from 16.4 on.",
    action: null,
  },
  "bad-address": { title: "That is no address of a voice server", help: "Open the address that the server printed.", action: null },
  misuse: { title: "This page asked for something impossible", help: "Reload it; if that does not help, it is a defect.", action: reload },
  unreachable: {
    title: "The server cannot be reached",
    help: "Is it running? A firewall or proxy may also be in the way: both UDP and WebSocket were tried.",
    action: again,
  },
  certificate: {
    title: "The server has a new certificate",
    help: "Certificates for development change every few days. Reload the page and accept the new one.",
    action: reload,
  },
  unauthorized: {
    title: "A key is needed",
    help: "Ask whoever runs this server for one. If that is you, run “legato api-key development”.",
    action: { label: "Enter a key", does: "key" },
  },
  overloaded: { title: "The server is busy", help: "It takes no more calls at the moment. Try again in a minute.", action: again },
  version: { title: "Page and server do not match", help: "The server was updated. Reload the page.", action: reload },
  format: { title: "No common audio format", help: "The server takes none of the formats of this page. Reload it.", action: reload },
  protocol: { title: "Page and server misunderstood each other", help: "That is a defect. Reload the page and call again.", action: reload },
  server: { title: "The server had a problem", help: "Its log says what. Call again.", action: again },
  lost: {
    title: "The connection was lost",
    help: "What you said and what you heard until then is known to both sides. Check the network and call again.",
    action: again,
  },
  closed: { title: "The call is over", help: "Call again whenever you like.", action: again },
};

/** What to say about an error; one of a newer package than this page gets the package's own words. */
export function problem(code: string, message: string): Problem {
  return PROBLEMS[code as VoiceErrorCode] ?? { title: "The call failed", help: message, action: again };
}

/** Conditions that are no errors: the call goes on as well as it can. */
export const CONDITIONS = {
  blocked: { title: "The browser holds the sound back", help: "Click or tap anywhere on this page.", action: null },
  silenced: {
    title: "The microphone is muted outside this page",
    help: "By its own switch, by the browser or by the system. Unmute it there.",
    action: null,
  },
  offline: { title: "This device is offline", help: "The call goes on as soon as there is a network.", action: null },
  silent: { title: "The network is silent", help: "What has arrived plays on, and nothing you say is lost.", action: null },
  reconnecting: { title: "Reconnecting", help: "What has arrived plays on, and what you say is kept.", action: null },
  leaving: { title: "The server will stop soon", help: "Finish what you are saying, then call again.", action: null },
} satisfies Record<string, Problem>;
