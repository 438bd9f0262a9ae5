// The document in which a server publishes the hashes of its development certificate. Must not know calls.

export const DISCOVERY_PATH = "/.well-known/legato";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** SHA-256 digests of the certificates of the server behind `url`; none for one with a certificate of an authority. */
export async function discoverHashes(
  url: string,
  fetch: Fetch,
  patienceMs: number,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const response = await fetch(url, { signal: AbortSignal.timeout(patienceMs), cache: "no-store" });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const document = (await response.json()) as { certificate_hashes?: unknown };
  const published = Array.isArray(document.certificate_hashes) ? document.certificate_hashes : [];
  return published
    .filter((one: { algorithm?: unknown }) => one?.algorithm === "sha-256")
    .map((one: { value?: unknown }) => digest(String(one.value)));
}

/** Whether a server publishes none of the `expected` hashes any more; false if it cannot be asked. */
export async function haveChanged(
  expected: readonly Uint8Array[],
  url: string,
  fetch: Fetch,
  patienceMs: number,
): Promise<boolean> {
  if (!expected.length) return false;
  try {
    const published = await discoverHashes(url, fetch, patienceMs);
    return !published.some((one) => expected.some((other) => String(one) === String(other)));
  } catch {
    return false;
  }
}

/** A SHA-256 digest from base64 or hex; throws RangeError if it is none. */
export function digest(text: string): Uint8Array<ArrayBuffer> {
  const hex = text.replaceAll(":", "");
  const bytes = /^[0-9a-f]{64}$/i.test(hex) ? fromHex(hex) : fromBase64(text);
  if (bytes?.length !== 32) throw new RangeError("a certificate hash is a SHA-256 digest: 32 bytes, in base64 or hex");
  return bytes;
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 32 }, (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16));
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
