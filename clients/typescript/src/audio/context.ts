// Audio contexts, and the rules under which browsers let them run. Must not know what is played or captured.

import { VoiceError } from "../errors.ts";

/** What a context that a click has started needs to say so, on a slow machine. */
const STARTING_MS = 2_500;

/**
 * A context at `rate`, or at that of the loudspeaker; running if the page was just clicked. Throws VoiceError where there is
 * none.
 */
export function openContext(rate?: number): AudioContext {
  if (typeof AudioContext === "undefined") {
    throw new VoiceError("unsupported-browser", "This browser has no Web Audio: use a current one.");
  }
  const context = new AudioContext({ ...(rate ? { sampleRate: rate } : {}), latencyHint: "interactive" });
  if (!context.audioWorklet) {
    void context.close();
    const secure = globalThis.isSecureContext;
    throw secure
      ? new VoiceError("unsupported-browser", "This browser has no AudioWorklet: use a current one.")
      : new VoiceError("insecure-page", "Browsers give sound and microphones to pages of https:// and of localhost only.");
  }
  void context.resume().catch(() => {});
  return context;
}

/**
 * Keeps a context running: browsers suspend it until the page is clicked, iOS interrupts it for phone calls and screen
 * locks, and both want a gesture before it goes on. `changed` is told whether it runs.
 */
export function keepRunning(context: AudioContext, changed: (running: boolean) => void): () => void {
  const resume = (): void => {
    if (context.state !== "running" && context.state !== "closed") void context.resume().catch(() => {});
  };
  let before = true;
  const look = (): void => {
    const running = context.state === "running";
    if (running !== before && context.state !== "closed") changed(running);
    before = running;
  };
  const gestures = ["pointerdown", "keydown", "touchend"] as const;
  for (const gesture of gestures) addEventListener(gesture, resume, { capture: true, passive: true });
  addEventListener("pageshow", resume);
  document.addEventListener("visibilitychange", resume);
  context.addEventListener("statechange", look);
  const first = setTimeout(look, STARTING_MS);
  return () => {
    clearTimeout(first);
    for (const gesture of gestures) removeEventListener(gesture, resume, { capture: true });
    removeEventListener("pageshow", resume);
    document.removeEventListener("visibilitychange", resume);
    context.removeEventListener("statechange", look);
  };
}
