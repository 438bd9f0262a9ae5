// The network switches of the page: which transport the next call takes, and holding everything back.
//
// Owns the channel to the worker (held-network.ts). Must not know calls.

import type { ThreadUrls } from "legato-voice";

/** Made by build.mjs: where the code of the other threads is. */
declare const THREADS: { worker: string; capture: string; playback: string };

export class NetworkSwitch {
  held = false;
  private readonly name = `legato ${crypto.randomUUID()}`;
  private readonly channel = new BroadcastChannel(this.name);

  /** For `connect`: the code of the threads, with a worker that listens to this switch. */
  get threads(): ThreadUrls {
    return { ...THREADS, worker: `${THREADS.worker}?${new URLSearchParams({ network: this.name })}` };
  }

  /** Let nothing through any more, or everything again. */
  hold(held: boolean): void {
    this.held = held;
    this.channel.postMessage(held);
  }
}
