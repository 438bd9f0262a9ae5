// The key that a call is made with. Owns where it comes from: this server, where the page may have one from it, or the
// person, for as long as this tab is open.

const STORED = "legato.key";

/** No key is to be had but from the person. */
export class KeyNeeded extends Error {}

/** A key for a call; null where none is asked for. */
export async function keyForCall(): Promise<string | null> {
  const stored = read();
  if (stored) return stored;
  const response = await fetch("/page/key", { method: "POST", cache: "no-store" }).catch(() => null);
  // A server that is not there, or has none for this page, says so to the call.
  if (!response?.ok) return null;
  const { required, key } = (await response.json()) as { required: boolean; key: string | null };
  if (required && !key) throw new KeyNeeded("enter the key of this server");
  return key;
}

/** Use this key from now on. */
export function enterKey(key: string): void {
  try {
    sessionStorage.setItem(STORED, key.trim());
  } catch {
    // A page without storage asks again after a reload.
  }
  entered = key.trim();
}

/** The key was wrong. */
export function forgetKey(): void {
  entered = null;
  try {
    sessionStorage.removeItem(STORED);
  } catch {
    // There was none.
  }
}

let entered: string | null = null;

function read(): string | null {
  try {
    return entered ?? sessionStorage.getItem(STORED);
  } catch {
    return entered;
  }
}
