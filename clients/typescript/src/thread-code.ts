// Where the code of the other threads comes from: from within this very bundle, or from addresses that the page gives.

import { capture, playback, worker } from "legato:threads";

import { VoiceError } from "./errors.ts";
import type { ThreadUrls } from "./settings.ts";

const CODE = { worker, capture, playback };

/** The address of one thread's code. */
export function threadUrl(thread: keyof ThreadUrls, given?: ThreadUrls): string {
  if (given) return String(given[thread]);
  return URL.createObjectURL(new Blob([CODE[thread]], { type: "text/javascript" }));
}

/** Forget an address that `threadUrl` made. */
export function release(url: string): void {
  if (url.startsWith("blob:")) URL.revokeObjectURL(url);
}

/** Add a processor to an audio context. */
export async function addModule(context: AudioContext, thread: "capture" | "playback", given?: ThreadUrls): Promise<void> {
  const url = threadUrl(thread, given);
  try {
    await context.audioWorklet.addModule(url);
  } catch (error) {
    throw notLoaded(thread, given, error);
  } finally {
    release(url);
  }
}

/** That a thread has no code: from an address, because that does not answer; carried along, because that is forbidden. */
export function notLoaded(thread: keyof ThreadUrls, given?: ThreadUrls, cause?: unknown): VoiceError {
  const what = thread === "worker" ? "network thread" : "audio thread";
  if (given) {
    const help = "is its server there, and does the page's policy allow it?";
    return new VoiceError("unreachable", `The code of the ${what} did not come from ${String(given[thread])}: ${help}`, { cause });
  }
  return new VoiceError("unsupported-browser", `The browser did not load the code of the ${what}. ${CSP}`, { cause });
}

/** What helps when a page's policy forbids the code. */
const CSP =
  "If the page has a Content-Security-Policy, allow blob: in script-src and worker-src, or serve the files of this package " +
  "and pass their addresses as `threads`.";
