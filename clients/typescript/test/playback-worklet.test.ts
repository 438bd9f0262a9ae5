// The player's end in the audio thread: a block of sound goes in and out, and messages of both other threads.

import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";

import type { PlayerCommand, SpeakerCommand } from "../src/network/threads.ts";
import { FakePort } from "./fakes.ts";

const RATE = 48_000;
const BLOCK = 128;

interface Processor {
  readonly port: FakePort;
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}

let make: (options: unknown) => Processor;
let processor: Processor;
let network: FakePort;

beforeAll(async () => {
  vi.stubGlobal("sampleRate", RATE);
  vi.stubGlobal("AudioWorkletProcessor", class { readonly port = new FakePort(); });
  vi.stubGlobal("registerProcessor", (_: string, processor: new (options: unknown) => Processor) => {
    make = (options) => new processor(options);
  });
  await import("../src/audio/playback-worklet.ts");
});

beforeEach(() => {
  processor = make({ processorOptions: { rate: RATE, startMs: 0 } });
  network = new FakePort();
  speaker({ kind: "network", port: network as unknown as MessagePort });
});

const speaker = (command: SpeakerCommand): void => processor.port.receive(command);
const command = (one: PlayerCommand): void => network.receive(one);

/** A reply of a second begins to sound. */
function sounding(): void {
  command({ kind: "begin", generation: 1, itemId: "a", contentIndex: 0 });
  command({ kind: "audio", generation: 1, pcm: new Int16Array(RATE).fill(8_000) });
  for (let block = 0; block < 8; block += 1) hear(0);
}

/** The loudest sample of the next block, while the microphone gives a tone of this amplitude; null: nothing is connected. */
function hear(amplitude: number | null): number {
  const microphone = Float32Array.from({ length: BLOCK }, (_, at) => (amplitude ?? 0) * Math.sin(at / 4));
  const output = new Float32Array(BLOCK);
  processor.process([amplitude === null ? [] : [microphone]], [[output]]);
  return output.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

/** Blocks of speech until the player says that it has heard it. */
function speakUntilHeard(): number {
  for (let block = 1; block < 40; block += 1) {
    hear(0.2);
    if (speech().length) return block;
  }
  return Infinity;
}

const speech = (): unknown[] => network.sent.filter((message) => (message as { kind: string }).kind === "speech");

describe("somebody who speaks into what sounds", () => {
  test("silences it within the fade, before anybody is asked", () => {
    sounding();
    expect(hear(0)).toBeGreaterThan(0.1);
    expect((speakUntilHeard() * BLOCK) / RATE).toBeLessThan(0.045);
    expect(speech()).toMatchObject([{ kind: "speech", speaking: true, at: expect.closeTo(Date.now(), -4) }]);
    hear(0.2);
    hear(0.2);
    expect(hear(0.2)).toBe(0);
  });

  test("is let go on by the network worker from the very sample", () => {
    sounding();
    speakUntilHeard();
    for (let block = 0; block < 50; block += 1) hear(0.2);
    command({ kind: "hold", held: false });
    for (let block = 0; block < 4; block += 1) hear(0.2);
    expect(hear(0.2)).toBeGreaterThan(0.1);
  });

  test("while nothing sounds holds nothing that comes later", () => {
    speakUntilHeard();
    sounding();
    expect(hear(0)).toBeGreaterThan(0.1);
  });

  test("has stopped when nothing is connected any more", () => {
    sounding();
    speakUntilHeard();
    for (let block = 0; block < 150; block += 1) hear(null);
    expect(speech()).toMatchObject([{ speaking: true }, { speaking: false }]);
  });

  test("is not listened for where no microphone is connected", () => {
    sounding();
    for (let block = 0; block < 40; block += 1) hear(null);
    expect(speech()).toEqual([]);
    expect(hear(null)).toBeGreaterThan(0.1);
  });
});

test("the processor lives until the call has ended", () => {
  expect(processor.process([], [[new Float32Array(BLOCK)]])).toBe(true);
  speaker({ kind: "end" });
  expect(processor.process([], [[new Float32Array(BLOCK)]])).toBe(false);
});
