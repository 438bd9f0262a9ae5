// The microphone's end on the main thread: permission, device, and the worklet that captures.
//
// Owns the context, which resamples to the rate of the call, and the tracks that it has opened itself. Must not know codecs
// or the network: samples reach the worker by a port of their own.

import { VoiceError } from "../errors.ts";
import type { CaptureCommand } from "../network/threads.ts";
import type { MicrophoneOptions, ThreadUrls } from "../settings.ts";
import { addModule } from "../thread-code.ts";
import { keepRunning, openContext } from "./context.ts";
import { microphoneError } from "./microphone-error.ts";

/** As registered by capture-worklet.ts, which runs where this file does not. */
const CAPTURE_PROCESSOR = "legato-capture";

export interface MicrophoneEvents {
  /** The device was unplugged, or taken away. */
  lost(): void;
  /** The system or the browser gives silence instead of it, or does so no more. */
  muted(muted: boolean): void;
  blocked(blocked: boolean): void;
}

export class Microphone {
  stream: MediaStream | null = null;
  private readonly context: AudioContext;
  private readonly letGo: () => void;
  private node: AudioWorkletNode | null = null;
  private source: AudioNode | null = null;
  /** What `use` has opened and nothing has replaced. */
  private opened: MediaStream | null = null;
  private over = false;

  /** To be made inside a click. */
  constructor(
    private readonly rate: number,
    private readonly events: MicrophoneEvents,
  ) {
    this.context = openContext(rate);
    this.letGo = keepRunning(this.context, (running) => events.blocked(!running));
  }

  /** Hand what is captured to `port`; the source is chosen by `use` or `play`. */
  async start(port: MessagePort, threads?: ThreadUrls): Promise<void> {
    await addModule(this.context, "capture", threads);
    if (this.over) return;
    const shape = { channelCount: 1, channelCountMode: "explicit", channelInterpretation: "speakers" } as const;
    this.node = new AudioWorkletNode(this.context, CAPTURE_PROCESSOR, { numberOfInputs: 1, numberOfOutputs: 1, ...shape });
    // Only what leads to the destination is sure to run; the worklet gives silence.
    this.node.connect(this.context.destination);
    this.tell({ kind: "network", port }, [port]);
    this.source?.connect(this.node);
  }

  /** Capture from a device; asks the person for permission. Throws VoiceError. */
  async use(options: MicrophoneOptions): Promise<MediaStream> {
    const stream = await openStream(options, this.rate);
    if (this.over) {
      stop(stream);
      throw new VoiceError("closed", "The call ended before the microphone was there.");
    }
    const [track] = stream.getAudioTracks();
    track!.addEventListener("ended", () => {
      if (this.stream === stream) this.events.lost();
    });
    for (const name of ["mute", "unmute"] as const) {
      track!.addEventListener(name, () => this.stream === stream && this.events.muted(name === "mute"));
    }
    this.play(stream);
    this.opened = stream;
    return stream;
  }

  /** Capture from a stream of the page's own making, which stays the page's. */
  play(stream: MediaStream): void {
    const source = this.context.createMediaStreamSource(stream);
    this.source?.disconnect();
    if (this.stream !== stream) this.letDeviceGo();
    this.stream = stream;
    this.source = source;
    if (this.node) source.connect(this.node);
  }

  async close(): Promise<void> {
    this.over = true;
    this.letGo();
    this.source?.disconnect();
    this.letDeviceGo();
    this.tell({ kind: "end" });
    this.node?.disconnect();
    if (this.context.state !== "closed") await this.context.close();
  }

  private letDeviceGo(): void {
    if (this.opened) stop(this.opened);
    this.opened = null;
  }

  private tell(command: CaptureCommand, transfer: Transferable[] = []): void {
    this.node?.port.postMessage(command, transfer);
  }
}

async function openStream(options: MicrophoneOptions, rate: number): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw globalThis.isSecureContext
      ? new VoiceError("unsupported-browser", "This browser gives no page a microphone: use a current one.")
      : new VoiceError("insecure-page", "Browsers give microphones to pages of https:// and of localhost only.");
  }
  const { deviceId, echoCancellation = true, noiseSuppression = false, autoGainControl = false } = options;
  // Without it, iOS plays and captures in turns.
  const { audioSession } = navigator as unknown as { audioSession?: { type: string } };
  if (audioSession) audioSession.type = "play-and-record";
  const wanted = { echoCancellation, noiseSuppression, autoGainControl, channelCount: 1, sampleRate: { ideal: rate } };
  const device = deviceId === undefined ? {} : { deviceId: { exact: deviceId } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...wanted, ...device } });
  } catch (error) {
    throw microphoneError(error);
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
