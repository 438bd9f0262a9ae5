// How a call begins. Owns what depends on the browser at hand.

import { VoiceError } from "./errors.ts";
import { RaceMemory, type Storage } from "./race-memory.ts";
import { VoiceSession } from "./session.ts";
import { callSettings, type ConnectOptions } from "./settings.ts";

/** All calls of a page share what it learned about its networks. */
const memory = new RaceMemory(storage());

/**
 * Call the voice server at `url` ("https://host:port", or "/" for the page's own). To be called inside a click, so that
 * the browser lets the answer sound. Throws VoiceError for a mistake; everything that happens later is told by events
 * and by `ready`.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): VoiceSession {
  if (typeof Worker === "undefined" || typeof MessageChannel === "undefined") {
    throw new VoiceError("unsupported-browser", "This browser has no workers: use a current one.");
  }
  const base = location.href;
  const able = typeof WebTransport !== "undefined" && (!isWebKit() || options.webkitWebTransport === true);
  const settings = callSettings(url, options, memory.odds(hostOf(url, base)), able, base);
  return new VoiceSession(settings, options, memory);
}

/** Every browser on iOS is one, whatever its name. */
function isWebKit(): boolean {
  return navigator.vendor.startsWith("Apple");
}

function hostOf(url: string | URL, base: string): string {
  try {
    return new URL(url, base).host;
  } catch {
    return "";
  }
}

function storage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
