// From captured samples to payloads with capture times: plain samples, or Opus by the browser's own encoder.
//
// Owns the encoder. Must not know where samples come from, nor sessions.

import type { AudioFormat } from "../wire/formats.ts";

export type DeliverPayload = (payload: Uint8Array, capturedUs: number) => void;

export interface CaptureEncoder {
  /** Take samples, of which the first was captured at `capturedUs`. */
  take(pcm: Int16Array, capturedUs: number): void;
  /** Resolves when everything taken so far was delivered. */
  flush(): Promise<void>;
  close(): void;
}

const FRAME_S = 0.02;

const opusConfig = (rate: number, bitrate: number): AudioEncoderConfig => ({
  codec: "opus",
  sampleRate: rate,
  numberOfChannels: 1,
  bitrate,
  opus: { application: "voip", signal: "voice", frameDuration: FRAME_S * 1_000_000 } as OpusEncoderConfig,
});

/** Whether this browser encodes Opus at `rate`. */
export async function encodesOpus(rate: number, bitrate: number): Promise<boolean> {
  if (typeof AudioEncoder === "undefined") return false;
  try {
    return (await AudioEncoder.isConfigSupported(opusConfig(rate, bitrate))).supported === true;
  } catch {
    return false;
  }
}

/** The encoder of a format; `fail` is told when the browser's own gives up. */
export function captureEncoder(
  format: AudioFormat,
  bitrate: number,
  deliver: DeliverPayload,
  fail: (reason: string) => void,
): CaptureEncoder {
  return format.codec === "opus" ? new OpusEncoder(format.rate, bitrate, deliver, fail) : new PlainEncoder(deliver);
}

/** Samples as they are: lossless. */
class PlainEncoder implements CaptureEncoder {
  constructor(private readonly deliver: DeliverPayload) {}

  take(pcm: Int16Array, capturedUs: number): void {
    if (pcm.length) this.deliver(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength), capturedUs);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

/** Packets of 20 ms. */
class OpusEncoder implements CaptureEncoder {
  private readonly encoder: AudioEncoder;
  private readonly frame: Int16Array<ArrayBuffer>;
  private filled = 0;
  private nextUs = 0;

  constructor(
    private readonly rate: number,
    bitrate: number,
    deliver: DeliverPayload,
    fail: (reason: string) => void,
  ) {
    this.frame = new Int16Array(rate * FRAME_S);
    this.encoder = new AudioEncoder({
      output: (chunk) => {
        const payload = new Uint8Array(chunk.byteLength);
        chunk.copyTo(payload);
        deliver(payload, Math.max(0, Math.round(chunk.timestamp)));
      },
      error: (error) => fail(error.message),
    });
    this.encoder.configure(opusConfig(rate, bitrate));
  }

  take(pcm: Int16Array, capturedUs: number): void {
    if (this.filled === 0) this.nextUs = capturedUs;
    for (let at = 0; at < pcm.length; ) {
      const count = Math.min(pcm.length - at, this.frame.length - this.filled);
      this.frame.set(pcm.subarray(at, at + count), this.filled);
      this.filled += count;
      at += count;
      if (this.filled === this.frame.length) {
        this.encode();
        this.nextUs = capturedUs + Math.round((at / this.rate) * 1_000_000);
      }
    }
  }

  /** The last frame is filled with silence: a packet has a fixed length. */
  async flush(): Promise<void> {
    if (this.filled > 0) this.encode();
    // One that is closed meanwhile, or gives up, has nothing more to deliver; `fail` is told of the latter.
    if (this.encoder.state === "configured") await this.encoder.flush().catch(() => {});
  }

  close(): void {
    if (this.encoder.state !== "closed") this.encoder.close();
  }

  private encode(): void {
    this.frame.fill(0, this.filled);
    this.filled = 0;
    if (this.encoder.state !== "configured") return;
    const shape = { format: "s16", sampleRate: this.rate, numberOfFrames: this.frame.length, numberOfChannels: 1 } as const;
    const data = new AudioData({ ...shape, timestamp: this.nextUs, data: this.frame });
    this.encoder.encode(data);
    data.close();
  }
}
