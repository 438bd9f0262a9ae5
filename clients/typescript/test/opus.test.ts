// Opus both ways, with a browser's coders played by the test: what is owed to positions and times.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { captureEncoder, encodesOpus } from "../src/audio/capture-encoder.ts";
import { decodesOpus, replyDecoder, type ReplyDecoder } from "../src/audio/reply-decoder.ts";

const OPUS = { codec: "opus", rate: 24_000, channels: 1 } as const;
/** One packet of 20 ms by its first byte. */
const PACKET = Uint8Array.of(0x08, 1);

class FakeDecoder {
  static last: FakeDecoder;
  static isConfigSupported = async () => ({ supported: true });
  state = "unconfigured";
  readonly taken: number[] = [];

  constructor(readonly given: { output(data: object): void; error(error: Error): void }) {
    FakeDecoder.last = this;
  }

  configure(): void {
    this.state = "configured";
  }

  decode(chunk: { timestamp: number }): void {
    this.taken.push(chunk.timestamp);
  }

  /** Give what a packet of 20 ms holds, or less. */
  give(frames = 960, value = 0.5): void {
    const copyTo = (target: Float32Array): void => void target.fill(value);
    this.given.output({ numberOfFrames: frames, copyTo, close: () => {} });
  }

  fail(): void {
    this.state = "closed";
    this.given.error(new Error("no packet"));
  }

  flush = async (): Promise<void> => {};

  close(): void {
    this.state = "closed";
  }
}

class FakeEncoder {
  static last: FakeEncoder;
  static isConfigSupported = async () => ({ supported: false });
  state = "unconfigured";
  readonly taken: { timestamp: number; data: Int16Array }[] = [];

  constructor(readonly given: { output(chunk: object): void; error(error: Error): void }) {
    FakeEncoder.last = this;
  }

  configure(): void {
    this.state = "configured";
  }

  encode(data: { timestamp: number; data: Int16Array }): void {
    this.taken.push({ timestamp: data.timestamp, data: data.data.slice() });
    this.given.output({ byteLength: 2, timestamp: data.timestamp, copyTo: (target: Uint8Array) => target.set(PACKET) });
  }

  flush = async (): Promise<void> => {};

  close(): void {
    this.state = "closed";
  }
}

class Held {
  constructor(given: object) {
    Object.assign(this, given);
  }

  close(): void {}
}

beforeEach(() => {
  vi.stubGlobal("AudioDecoder", FakeDecoder);
  vi.stubGlobal("AudioEncoder", FakeEncoder);
  vi.stubGlobal("AudioData", Held);
  vi.stubGlobal("EncodedAudioChunk", Held);
});

afterEach(() => vi.unstubAllGlobals());

test("a browser is asked what it can do, and one without coders can do nothing", async () => {
  expect([await decodesOpus(), await encodesOpus(16_000, 32_000)]).toEqual([true, false]);
  vi.unstubAllGlobals();
  expect([await decodesOpus(), await encodesOpus(16_000, 32_000)]).toEqual([false, false]);
});

describe("a reply", () => {
  let decoder: ReplyDecoder;
  let played: Int16Array[];
  let ended: number;

  beforeEach(() => {
    played = [];
    ended = 0;
    decoder = replyDecoder(OPUS, { deliver: (pcm) => played.push(pcm), ended: () => (ended += 1) });
  });

  const lengths = (): number[] => played.map(({ length }) => length);

  test("comes out at its own rate", () => {
    decoder.take(0, PACKET);
    decoder.take(480, PACKET);
    FakeDecoder.last.give();
    FakeDecoder.last.give();
    expect(lengths()).toEqual([480, 480]);
    expect(played[1]!.at(-1)).toBe(16_384);
    expect(FakeDecoder.last.taken).toEqual([0, 20_000]);
  });

  test("has silence in the place of what was lost, though the decoder works later", () => {
    decoder.take(0, PACKET);
    decoder.take(1_440, PACKET);
    FakeDecoder.last.give();
    FakeDecoder.last.give();
    expect(lengths()).toEqual([480, 960, 480]);
    expect([...played[1]!].every((sample) => sample === 0)).toBe(true);
  });

  test("is as long as its packets say, whatever the decoder keeps", async () => {
    decoder.take(0, PACKET);
    FakeDecoder.last.give(648);
    decoder.end();
    await Promise.resolve();
    expect(lengths()).toEqual([324, 156]);
    expect(ended).toBe(1);
  });

  test("goes on with another decoder behind a packet that is none", () => {
    decoder.take(0, PACKET);
    const broken = FakeDecoder.last;
    broken.fail();
    decoder.take(480, PACKET);
    expect(FakeDecoder.last).not.toBe(broken);
    FakeDecoder.last.give();
    expect(lengths()).toEqual([480, 480]);
    expect(played[0]![0]).toBe(0);
  });

  test("has the silence of a gap once, though the decoder gave up before it came to that", () => {
    decoder.take(0, PACKET);
    decoder.take(1_440, PACKET);
    FakeDecoder.last.fail();
    decoder.take(2_400, PACKET);
    FakeDecoder.last.give();
    expect(lengths()).toEqual([1_920, 480, 480]);
    expect(played[2]!.at(-1)).toBe(16_384);
  });

  test("that is flushed gives nothing any more", async () => {
    decoder.take(0, PACKET);
    decoder.close();
    FakeDecoder.last.give();
    decoder.end();
    decoder.take(480, PACKET);
    await Promise.resolve();
    expect([played, ended, FakeDecoder.last.state]).toEqual([[], 0, "closed"]);
  });
});

describe("a microphone", () => {
  test("is cut into packets of 20 ms that know when they were captured", async () => {
    const sent: [Uint8Array, number][] = [];
    const format = { ...OPUS, rate: 16_000 };
    const encoder = captureEncoder(format, 32_000, (payload, capturedUs) => sent.push([payload, capturedUs]), () => {});
    encoder.take(new Int16Array(400).fill(1), 1_000_000);
    encoder.take(new Int16Array(400).fill(1), 1_025_000);
    expect(sent).toEqual([
      [PACKET, 1_000_000],
      [PACKET, 1_020_000],
    ]);
    await encoder.flush();
    expect(sent.at(-1)).toEqual([PACKET, 1_040_000]);
    expect(FakeEncoder.last.taken.at(-1)!.data.slice(158, 162)).toEqual(Int16Array.of(1, 1, 0, 0));
    encoder.close();
    encoder.take(new Int16Array(400), 2_000_000);
    expect(sent).toHaveLength(3);
  });

  test("whose encoder is closed, or gives up, at a pause has nothing more to send", async () => {
    const encoder = captureEncoder(OPUS, 32_000, () => {}, () => {});
    FakeEncoder.last.flush = () => Promise.reject(new DOMException("closed", "AbortError"));
    await expect(encoder.flush()).resolves.toBeUndefined();
  });

  test("whose encoder fails says so", () => {
    const faults: string[] = [];
    captureEncoder(OPUS, 32_000, () => {}, (reason) => faults.push(reason));
    FakeEncoder.last.given.error(new Error("no more"));
    expect(faults).toEqual(["no more"]);
  });
});
