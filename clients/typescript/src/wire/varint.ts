// QUIC variable-length integers (RFC 9000 section 16): the only integers on the binary side of the wire.
//
// Owns their two directions; must not know what a number means. Numbers above 2^53 - 1 are read rounded: no number
// of this protocol may be that large, and whoever reads one refuses it by its size.

/** A number and the position behind it. */
export interface Decoded {
  value: number;
  next: number;
}

/** How many bytes `value` takes; throws RangeError for what is no whole number up to 2^53 - 1. */
export function size(value: number): 1 | 2 | 4 | 8 {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`a wire number lies between 0 and 2^53 - 1; ${value} does not`);
  }
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8;
}

/** Writes `value` at `at` in the shortest form; returns the position behind it. */
export function write(target: Uint8Array, at: number, value: number): number {
  const bytes = size(value);
  let rest = value;
  for (let index = at + bytes - 1; index >= at; index -= 1) {
    target[index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  target[at]! |= { 1: 0, 2: 0x40, 4: 0x80, 8: 0xc0 }[bytes];
  return at + bytes;
}

/** `value` in the shortest form. */
export function encode(value: number): Uint8Array {
  const target = new Uint8Array(size(value));
  write(target, 0, value);
  return target;
}

/** The number at `at`; null if `data` ends before it does. */
export function decode(data: Uint8Array, at: number): Decoded | null {
  const first = data[at];
  if (first === undefined) return null;
  const next = at + (1 << (first >> 6));
  if (next > data.length) return null;
  let value = first & 0x3f;
  for (let index = at + 1; index < next; index += 1) value = value * 256 + data[index]!;
  return { value, next };
}
