// Runs in the audio thread: plays what the network worker sends over a port of their own.
//
// Owns nothing but the joining of a port, a PlaybackBuffer at the rate of the replies, and the device with its own. The
// main thread only says how late the loudspeaker is; a page that is busy for a second is not heard.

import type { PlaybackOptions, PlayerCommand, PlayerMessage, SpeakerCommand } from "../network/threads.ts";
import { PlaybackBuffer, type PlayerReport } from "./playback-buffer.ts";
import { Resampler } from "./resampler.ts";
import { worklet } from "./worklet-globals.ts";

export const PLAYBACK_PROCESSOR = "legato-playback";

class PlaybackProcessor extends worklet.AudioWorkletProcessor {
  private readonly player: PlaybackBuffer;
  private readonly resampler: Resampler;
  private readonly source = (block: Float32Array): void => this.player.pull(block);
  private network: MessagePort | null = null;
  private latency = 0;
  private over = false;

  constructor({ processorOptions: { rate, startMs } }: { processorOptions: PlaybackOptions }) {
    super();
    this.player = new PlaybackBuffer(rate, (startMs * rate) / 1_000);
    this.resampler = new Resampler(rate, worklet.sampleRate);
    this.port.onmessage = ({ data }: MessageEvent<SpeakerCommand>) => {
      if (data.kind === "latency") this.latency = Math.round(data.seconds * rate);
      else if (data.kind === "end") this.over = true;
      else this.listen(data.port);
    };
  }

  process(_inputs: Float32Array[][], [output]: Float32Array[][]): boolean {
    const channel = output?.[0];
    if (channel) this.resampler.fill(channel, this.source);
    const reports = this.player.reports(this.latency + this.resampler.delay);
    if (reports.length) this.tell(reports);
    return !this.over;
  }

  private tell(reports: PlayerReport[]): void {
    const { buffered, underruns } = this.player;
    const message: PlayerMessage = { kind: "reports", reports, buffered, underruns };
    this.network?.postMessage(message);
  }

  private listen(port: MessagePort): void {
    this.network = port;
    port.onmessage = ({ data }: MessageEvent<PlayerCommand>) => {
      switch (data.kind) {
        case "begin":
          return this.player.begin(data.generation, data.itemId, data.contentIndex);
        case "audio":
          return this.player.append(data.generation, data.pcm);
        case "complete":
          return this.player.complete(data.generation);
        case "flush":
          return this.player.flush(data.first, data.last);
        case "hold":
          return this.player.hold(data.held);
        case "restart":
          return this.player.restart();
      }
    };
  }
}

worklet.registerProcessor(PLAYBACK_PROCESSOR, PlaybackProcessor);
