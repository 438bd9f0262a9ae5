// One part of a reply between the wire and the player: payloads in, samples without a hole out.
//
// Owns the decoder and the silence that stands for what was lost. Must not know sessions, nor what plays.

import { RemoteProtocolError } from "../errors.ts";
import { SessionCode } from "../wire/codes.ts";
import { samplesIn, type AudioFormat } from "../wire/formats.ts";
import { Decimator } from "./decimator.ts";

export interface ReplyDecoder {
  /** Take the payload at `offset`; what is missing before it becomes silence. */
  take(offset: number, payload: Uint8Array): void;
  /** Nothing follows; `ended` is called when the last sample was delivered. */
  end(): void;
  /** Deliver nothing any more. */
  close(): void;
}

export interface ReplySink {
  deliver(pcm: Int16Array): void;
  ended(): void;
}

/** Silence that may stand for lost audio; a longer gap is a mistake of the server, not a loss. */
const LONGEST_GAP_S = 30;
const DECODED_RATE = 48_000;

const opusConfig: AudioDecoderConfig = { codec: "opus", sampleRate: DECODED_RATE, numberOfChannels: 1 };

/** Whether this browser decodes Opus. */
export async function decodesOpus(): Promise<boolean> {
  if (typeof AudioDecoder === "undefined") return false;
  try {
    return (await AudioDecoder.isConfigSupported(opusConfig)).supported === true;
  } catch {
    return false;
  }
}

/** The decoder of a format that was offered. */
export function replyDecoder(format: AudioFormat, sink: ReplySink): ReplyDecoder {
  return format.codec === "opus" ? new OpusDecoder(format, sink) : new PlainDecoder(format, sink);
}

/** How many samples are missing before `offset`; throws RemoteProtocolError for more than any loss explains. */
function missing(format: AudioFormat, received: number, offset: number): number {
  const lost = offset - received;
  if (lost > LONGEST_GAP_S * format.rate) {
    throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, `a reply lacks ${lost} samples`);
  }
  return lost;
}

class PlainDecoder implements ReplyDecoder {
  private received = 0;
  private over = false;

  constructor(
    private readonly format: AudioFormat,
    private readonly sink: ReplySink,
  ) {}

  take(offset: number, payload: Uint8Array): void {
    if (this.over) return;
    const lost = missing(this.format, this.received, offset);
    if (lost > 0) this.sink.deliver(new Int16Array(lost));
    // A copy begins at an even address, which a view of 16-bit numbers needs.
    const pcm = new Int16Array(payload.slice().buffer);
    this.received = offset + pcm.length;
    this.sink.deliver(pcm);
  }

  end(): void {
    if (!this.over) this.sink.ended();
  }

  close(): void {
    this.over = true;
  }
}

/**
 * The browser's decoder works on its own time, so that what was lost is noted by position. Positions stay true whatever
 * it does: it owes exactly the samples that the packets said they hold.
 */
class OpusDecoder implements ReplyDecoder {
  private readonly decimator: Decimator;
  private decoder: AudioDecoder;
  private received = 0;
  private delivered = 0;
  private readonly gaps: { at: number; samples: number }[] = [];
  private over = false;

  constructor(
    private readonly format: AudioFormat,
    private readonly sink: ReplySink,
  ) {
    this.decimator = new Decimator(DECODED_RATE / format.rate);
    this.decoder = this.open();
  }

  take(offset: number, payload: Uint8Array): void {
    if (this.over) return;
    const lost = missing(this.format, this.received, offset);
    if (lost > 0) this.gaps.push({ at: this.received, samples: lost });
    if (this.decoder.state !== "configured") {
      // It gave up, and with it went what it had not decoded: silence, in its place, and in that of the gaps before it.
      this.fill(this.received);
      this.gaps.splice(0, this.gaps.findLastIndex(({ at }) => at < this.received) + 1);
      this.decoder = this.open();
    }
    this.received = offset + samplesIn(this.format, payload);
    const timestamp = Math.round((offset / this.format.rate) * 1_000_000);
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: payload as BufferSource }));
  }

  end(): void {
    if (this.over) return;
    const finish = (): void => {
      if (this.over) return;
      this.fill(this.received);
      this.sink.ended();
    };
    if (this.decoder.state === "configured") this.decoder.flush().then(finish, finish);
    else finish();
  }

  close(): void {
    this.over = true;
    if (this.decoder.state !== "closed") this.decoder.close();
  }

  private open(): AudioDecoder {
    const decoder = new AudioDecoder({
      output: (data) => this.decoded(data),
      // The next packet finds it closed.
      error: () => {},
    });
    decoder.configure(opusConfig);
    return decoder;
  }

  private decoded(data: AudioData): void {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    if (this.over) return;
    while (this.gaps.length && this.gaps[0]!.at <= this.delivered) this.pass(new Int16Array(this.gaps.shift()!.samples));
    this.pass(this.decimator.take(samples).subarray(0, this.received - this.delivered));
  }

  private fill(to: number): void {
    if (to > this.delivered) this.pass(new Int16Array(to - this.delivered));
  }

  private pass(pcm: Int16Array): void {
    this.delivered += pcm.length;
    if (pcm.length) this.sink.deliver(pcm);
  }
}
