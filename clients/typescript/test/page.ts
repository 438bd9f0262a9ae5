// The page around a call: what a browser's window, tab and network tell of themselves. Must not know who listens.

import { vi } from "vitest";

export class FakePage {
  readonly window = new EventTarget();
  readonly tab = Object.assign(new EventTarget(), { visibilityState: "visible" });

  /** Stands in for the browser's globals until they are unstubbed. */
  constructor(navigator: object = {}) {
    vi.stubGlobal("addEventListener", this.window.addEventListener.bind(this.window));
    vi.stubGlobal("removeEventListener", this.window.removeEventListener.bind(this.window));
    vi.stubGlobal("document", this.tab);
    vi.stubGlobal("navigator", navigator);
  }
}
