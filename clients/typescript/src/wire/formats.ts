// Audio formats: which there are, and how many samples a payload holds (SPEC 5); must not touch a sample's value.

export type Codec = "pcm16" | "opus" | "pcmu" | "pcma";

/** How audio is coded; one channel always. */
export interface AudioFormat {
  readonly codec: Codec;
  readonly rate: number;
  readonly channels: 1;
}

export const RATES: Readonly<Record<Codec, readonly number[]>> = {
  pcm16: [16_000, 24_000, 48_000],
  opus: [16_000, 24_000, 48_000],
  pcmu: [8_000],
  pcma: [8_000],
};

// Frame durations in microseconds by Opus configuration number (RFC 6716 section 3.1, table 2):
// 0..11 SILK, 12..15 hybrid, 16..31 CELT.
const SILK = [10_000, 20_000, 40_000, 60_000];
const HYBRID = [10_000, 20_000];
const CELT = [2_500, 5_000, 10_000, 20_000];
const FRAME_US = [...SILK, ...SILK, ...SILK, ...HYBRID, ...HYBRID, ...CELT, ...CELT, ...CELT, ...CELT];
const PACKET_MAX_US = 120_000;

/** The format of these figures; throws RangeError where the specification defines none. */
export function audioFormat(codec: Codec, rate: number): AudioFormat {
  if (!RATES[codec]?.includes(rate)) throw new RangeError(`${codec} at ${rate} Hz is not defined`);
  return { codec, rate, channels: 1 };
}

/** Whether two formats are the same. */
export function equal(one: AudioFormat, other: AudioFormat): boolean {
  return one.codec === other.codec && one.rate === other.rate;
}

/** How long one Opus packet sounds, in microseconds, by its first bytes; throws RangeError if it is none. */
export function opusDurationUs(packet: Uint8Array): number {
  const [toc, counted] = packet;
  if (toc === undefined) throw new RangeError("an Opus packet has at least one byte");
  const frame = FRAME_US[toc >> 3]!;
  if ((toc & 3) !== 3) return (toc & 3) === 0 ? frame : 2 * frame;
  if (counted === undefined) throw new RangeError("an Opus packet of code 3 needs its frame count byte");
  const duration = (counted & 0x3f) * frame;
  if (duration === 0 || duration > PACKET_MAX_US) {
    throw new RangeError(`an Opus packet lasts at most 120 ms, this one claims ${counted & 0x3f} frames`);
  }
  return duration;
}

/** Bytes of one sample, or null where a payload cannot be cut at a sample (Opus). */
export function bytesPerSample(codec: Codec): number | null {
  return codec === "opus" ? null : codec === "pcm16" ? 2 : 1;
}

/** How many samples `payload` holds; throws RangeError if it is not whole audio of the format. */
export function samplesIn(format: AudioFormat, payload: Uint8Array): number {
  if (format.codec === "opus") return Math.floor((opusDurationUs(payload) * format.rate) / 1_000_000);
  if (format.codec !== "pcm16") return payload.length;
  if (payload.length % 2) {
    throw new RangeError("pcm16 takes two bytes per sample, this payload has an odd length");
  }
  return payload.length / 2;
}
