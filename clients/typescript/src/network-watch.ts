// What a browser says of the network and of a page that was asleep. Must not know what follows from it.

/**
 * Calls `tell` when the path to a server may be another one (`moved`), or may be gone without a word: a page that comes
 * back was perhaps frozen, and its connections were not. Returns how to stop.
 */
export function watchNetwork(tell: (moved: boolean) => void): () => void {
  const moved = (): void => tell(true);
  const awake = (): void => tell(false);
  const seen = (): void => {
    if (document.visibilityState === "visible") tell(false);
  };
  const { connection } = navigator as unknown as { connection?: EventTarget };
  addEventListener("online", moved);
  connection?.addEventListener("change", moved);
  addEventListener("pageshow", awake);
  document.addEventListener("visibilitychange", seen);
  return () => {
    removeEventListener("online", moved);
    connection?.removeEventListener("change", moved);
    removeEventListener("pageshow", awake);
    document.removeEventListener("visibilitychange", seen);
  };
}
