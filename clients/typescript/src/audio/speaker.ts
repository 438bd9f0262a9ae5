// The loudspeaker's end on the main thread: a context at the loudspeaker's rate and the worklet in it.
//
// Everything is played through Web Audio: echo cancellation of every browser takes it as its reference, which is not
// so for an <audio> element, nor in Firefox for a context at another rate than the device's. Owns the context. Must not
// know replies: those reach the worklet by a port of their own.

import type { PlaybackOptions, SpeakerCommand } from "../network/threads.ts";
import type { ThreadUrls } from "../settings.ts";
import { addModule } from "../thread-code.ts";
import { VoiceError } from "../errors.ts";
import { keepRunning, openContext } from "./context.ts";
import { isGecko, LATENCY_MS, LatencyGauge } from "./latency.ts";

/** As registered by playback-worklet.ts, which runs where this file does not. */
const PLAYBACK_PROCESSOR = "legato-playback";

export class Speaker {
  readonly context: AudioContext;
  /** What is heard: connect an AnalyserNode to paint it. */
  readonly output: GainNode;
  /** For the network worker. */
  readonly port: MessagePort;
  private readonly channel = new MessageChannel();
  private readonly letGo: () => void;
  private readonly gauge: LatencyGauge;
  private node: AudioWorkletNode | null = null;
  private source: AudioNode | null = null;
  private timer: ReturnType<typeof setInterval> | null = null;

  /** To be made inside a click, for replies at `rate`. `blocked` is told when the browser does not let it sound. */
  constructor(
    private readonly rate: number,
    blocked: (blocked: boolean) => void,
  ) {
    this.context = openContext();
    this.gauge = new LatencyGauge(this.context, isGecko());
    this.output = this.context.createGain();
    this.output.connect(this.context.destination);
    this.port = this.channel.port1;
    this.letGo = keepRunning(this.context, (running) => blocked(!running));
  }

  /** Start playing what the port brings. */
  async start(startMs: number, threads?: ThreadUrls): Promise<void> {
    await addModule(this.context, "playback", threads);
    if (this.context.state === "closed") return;
    const processorOptions: PlaybackOptions = { rate: this.rate, startMs };
    const shape = { channelCount: 1, channelCountMode: "explicit", channelInterpretation: "speakers" } as const;
    const options = { ...shape, numberOfInputs: 1, outputChannelCount: [1], processorOptions };
    this.node = new AudioWorkletNode(this.context, PLAYBACK_PROCESSOR, options);
    this.node.connect(this.output);
    this.source?.connect(this.node);
    this.tell({ kind: "network", port: this.channel.port2 }, [this.channel.port2]);
    this.tellLatency();
    this.timer = setInterval(() => this.tellLatency(), LATENCY_MS);
  }

  /** Seconds from the worklet to the ear. */
  get latency(): number {
    return this.gauge.seconds;
  }

  /** Go quiet when somebody seems to speak in `stream`; null: listen to nobody. */
  listen(stream: MediaStream | null): void {
    this.source?.disconnect();
    this.source = stream && this.context.createMediaStreamSource(stream);
    if (this.node) this.source?.connect(this.node);
  }

  /** Play on another device. */
  async use(deviceId: string): Promise<void> {
    const context = this.context as AudioContext & { setSinkId?(id: string): Promise<void> };
    if (!context.setSinkId) {
      throw new VoiceError("unsupported-browser", "This browser plays on the system's loudspeaker only.");
    }
    await context.setSinkId(deviceId);
  }

  async close(): Promise<void> {
    this.letGo();
    if (this.timer !== null) clearInterval(this.timer);
    this.tell({ kind: "end" });
    this.source?.disconnect();
    this.node?.disconnect();
    if (this.context.state !== "closed") await this.context.close();
  }

  private tellLatency(): void {
    this.gauge.look();
    this.tell({ kind: "latency", seconds: this.gauge.seconds });
  }

  private tell(command: SpeakerCommand, transfer: Transferable[] = []): void {
    this.node?.port.postMessage(command, transfer);
  }
}
