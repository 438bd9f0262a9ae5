// Runs in the audio thread: gathers captured samples into pieces of 20 ms for the network worker.
//
// Owns the change from floats to 16 bits. Must not know codecs, sessions or whether anybody listens.

import type { CapturedPiece, CaptureCommand } from "../network/threads.ts";
import { toInt16 } from "./decimator.ts";
import { worklet } from "./worklet-globals.ts";

export const CAPTURE_PROCESSOR = "legato-capture";
const PIECE_S = 0.02;

class CaptureProcessor extends worklet.AudioWorkletProcessor {
  private readonly piece = Math.round(worklet.sampleRate * PIECE_S);
  private pcm = new Int16Array(this.piece);
  private filled = 0;
  private network: MessagePort | null = null;
  private over = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<CaptureCommand>) => {
      if (data.kind === "end") this.over = true;
      else this.network = data.port;
    };
  }

  process([input]: Float32Array[][]): boolean {
    const channel = input?.[0];
    for (let at = 0; channel && at < channel.length; at += 1) {
      this.pcm[this.filled] = toInt16(channel[at]!);
      this.filled += 1;
      if (this.filled === this.piece) this.hand();
    }
    return !this.over;
  }

  private hand(): void {
    const piece: CapturedPiece = { pcm: this.pcm };
    this.network?.postMessage(piece, [this.pcm.buffer]);
    this.pcm = new Int16Array(this.piece);
    this.filled = 0;
  }
}

worklet.registerProcessor(CAPTURE_PROCESSOR, CaptureProcessor);
