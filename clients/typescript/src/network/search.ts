// A connection that is looked for while another one is at work, or is lost. Must not know how connections are made.

export class Search {
  readonly control = new AbortController();
  private go: () => void = () => {};

  /** `better`: for what would carry the call better than the connection at work, which is well. */
  constructor(readonly better: boolean) {}

  /** Cut a pause short. */
  hurry(): void {
    this.go();
  }

  /** Wait so long, unless hurried or given up. */
  pause(ms: number): Promise<void> {
    const { signal } = this.control;
    return new Promise((resolve) => {
      const go = (): void => {
        clearTimeout(timer);
        this.go = () => {};
        signal.removeEventListener("abort", go);
        resolve();
      };
      const timer = setTimeout(go, ms);
      this.go = go;
      signal.addEventListener("abort", go);
      if (signal.aborted) go();
    });
  }
}
