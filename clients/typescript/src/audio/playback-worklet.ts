// Runs in the audio thread: plays what the network worker sends over a port of their own.
//
// Owns nothing but the joining of a port, a PlaybackBuffer at the rate of the replies, and the device with its own. The
// main thread only says how late the loudspeaker is; a page that is busy for a second is not heard.
//
// What the microphone gives may be connected to it: then it goes quiet in the very block in which somebody seems to speak.
// By way of the network worker that would be a block of the device later, which is 20 ms and more in Firefox.

import type { PlaybackOptions, PlayerCommand, PlayerMessage, SpeakerCommand } from "../network/threads.ts";
import { PlaybackBuffer, type PlayerReport } from "./playback-buffer.ts";
import { Resampler } from "./resampler.ts";
import { SpeechDetector } from "./speech-detector.ts";
import { worklet } from "./worklet-globals.ts";

export const PLAYBACK_PROCESSOR = "legato-playback";

class PlaybackProcessor extends worklet.AudioWorkletProcessor {
  private readonly player: PlaybackBuffer;
  private readonly resampler: Resampler;
  private readonly detector = new SpeechDetector(worklet.sampleRate);
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

  process([input]: Float32Array[][], [output]: Float32Array[][]): boolean {
    const channel = output?.[0];
    // What is disconnected, or altogether silent, may give no samples at all; who spoke there has stopped.
    const microphone = input?.[0] ?? (this.detector.speaking ? channel?.fill(0) : null);
    if (microphone && this.detector.take(microphone)) this.notice(this.detector.speaking);
    if (channel) this.resampler.fill(channel, this.source);
    const reports = this.player.reports(this.latency + this.resampler.delay);
    if (reports.length) this.report(reports);
    return !this.over;
  }

  /** Go quiet at once; whether it stays so is the network worker's to say. */
  private notice(speaking: boolean): void {
    if (speaking && this.player.sounding) this.player.hold(true);
    this.tell({ kind: "speech", speaking, at: Date.now() });
  }

  private report(reports: PlayerReport[]): void {
    const { buffered, underruns } = this.player;
    this.tell({ kind: "reports", reports, buffered, underruns });
  }

  private tell(message: PlayerMessage): void {
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
