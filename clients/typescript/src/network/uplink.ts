// Captured audio on its way to the session: muting, coding, and what was captured before there is a session.
//
// Owns the encoder and the capture times. Must not know where samples come from, nor transports.

import { captureEncoder, type CaptureEncoder } from "../audio/capture-encoder.ts";
import type { ClientSession } from "../core/client-session.ts";
import { samplesIn, type AudioFormat } from "../wire/formats.ts";

/** Silence that is sent when the microphone is muted, so that whoever listens for the end of a turn hears it. */
const MUTE_TAIL_S = 1;

export class Uplink {
  /** Position behind the last captured sample. */
  captured = 0;
  private readonly encoder: CaptureEncoder;
  private session: ClientSession | null = null;
  private readonly early: { payload: Uint8Array; capturedUs: number }[] = [];
  private muted = false;
  private tail = 0;

  constructor(
    readonly format: AudioFormat,
    bitrate: number,
    private readonly now: () => number,
    private readonly settle: () => void,
    fail: (reason: string) => void,
  ) {
    this.encoder = captureEncoder(format, bitrate, (payload, capturedUs) => this.send(payload, capturedUs), fail);
  }

  /** Send on this session from now on, first what was captured meanwhile; null: keep what comes. */
  attach(session: ClientSession | null): void {
    this.session = session;
    if (!session) return;
    for (const { payload, capturedUs } of this.early.splice(0)) session.sendAudio(payload, capturedUs);
  }

  /** Take samples that were captured just now. */
  take(pcm: Int16Array): void {
    const capturedUs = Math.max(0, Math.round(this.now() - (pcm.length / this.format.rate) * 1_000_000));
    if (this.muted) {
      if (this.tail <= 0) return;
      this.tail -= pcm.length;
      pcm.fill(0);
      this.encoder.take(pcm, capturedUs);
      if (this.tail <= 0) void this.pause();
      return;
    }
    this.encoder.take(pcm, capturedUs);
  }

  /** Replace what follows by nothing, after a moment of silence; or go on. */
  mute(muted: boolean): void {
    if (muted && !this.muted) this.tail = MUTE_TAIL_S * this.format.rate;
    this.muted = muted;
  }

  /** Nothing follows for a while: resolves when everything captured so far was given to the session. */
  async pause(): Promise<void> {
    await this.encoder.flush();
    this.session?.endUtterance();
    this.settle();
  }

  close(): void {
    this.encoder.close();
  }

  private send(payload: Uint8Array, capturedUs: number): void {
    this.captured += samplesIn(this.format, payload);
    if (this.session) this.session.sendAudio(payload, capturedUs);
    else this.early.push({ payload, capturedUs });
    this.settle();
  }
}
