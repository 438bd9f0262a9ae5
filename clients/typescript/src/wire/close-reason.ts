// Why a session is closed, in words. Must not know which reasons there are.

import { REASON_MAX_BYTES } from "./codes.ts";

/** `reason` within the bytes that a close may carry. */
export function cut(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  if (bytes.length <= REASON_MAX_BYTES) return reason;
  return new TextDecoder().decode(bytes.subarray(0, REASON_MAX_BYTES)).replace(/\uFFFD+$/, "");
}
