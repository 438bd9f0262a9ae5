// What arrives before it may be looked at: kept in order, within a bound. Must not know what it is.

import { RemoteProtocolError } from "../errors.ts";
import { OVERHEAD_BYTES, SessionCode } from "../wire/codes.ts";

export class Early {
  private kept: (() => void)[] = [];
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  /** Keep what takes an input of so many bytes; throws RemoteProtocolError when it is too much. */
  keep(bytes: number, take: () => void): void {
    this.kept.push(take);
    this.bytes += OVERHEAD_BYTES + bytes;
    if (this.bytes <= this.maxBytes) return;
    throw new RemoteProtocolError(SessionCode.LIMIT_EXCEEDED, "too much audio before the welcome");
  }

  /** All that was kept, which is forgotten by that. */
  release(): (() => void)[] {
    return this.kept.splice(0);
  }
}
