// Reads wire/vectors, the contract that the implementations in all languages are held to.

declare global {
  interface ImportMeta {
    glob(pattern: string, options: { eager: true }): Record<string, { cases: Case[]; sequences: Case[] }>;
  }
}

const FILES = import.meta.glob("../../../wire/vectors/*.json", { eager: true });

export type Case = Record<string, any>;

const file = (name: string) => FILES[`../../../wire/vectors/${name}`]!;

export const cases = (name: string): Case[] => file(name).cases;

export const sequences = (name: string): Case[] => file(name).sequences;

export const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

export const hex = (data: Uint8Array): string => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `data` in pieces of `size` bytes. */
export function chunked(data: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += size) chunks.push(data.slice(at, at + size));
  return chunks;
}

/** A value of this library as the vectors write it: names with underscores, bytes in hex. */
export function plain(value: unknown): any {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [snake(name), plain(one)]));
}

export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
