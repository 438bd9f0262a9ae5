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
    const message = `The browser did not load the code of the audio thread. ${CSP}`;
    throw new VoiceError("unsupported-browser", message, { cause: error });
  } finally {
    release(url);
  }
}

/** What helps when a page's policy forbids the code. */
export const CSP =
  "If the page has a Content-Security-Policy, allow blob: in script-src and worker-src, or serve the files of this package " +
  "and pass their addresses as `threads`.";
