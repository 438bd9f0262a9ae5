// Samples as the text that OpenAI's events carry: base64 of 16-bit little-endian numbers.

/** How many bytes are put into one call: an argument list has its limits. */
const PIECE = 8_192;

/** Samples as text. */
export function toBase64(pcm: Int16Array): string {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

/** Text as samples; null if it is none, or no whole number of samples. */
export function fromBase64(text: string): Int16Array | null {
  try {
    const characters = atob(text);
    if (characters.length % 2) return null;
    return new Int16Array(Uint8Array.from(characters, (character) => character.charCodeAt(0)).buffer);
  } catch {
    return null;
  }
}
