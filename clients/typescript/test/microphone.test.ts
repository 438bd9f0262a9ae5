// Whose a stream is that a call captures from: a device's is opened and let go here, a page's own stays the page's.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Microphone } from "../src/audio/microphone.ts";
import { FakePage } from "./page.ts";

class FakeTrack extends EventTarget {
  readonly kind = "audio";
  stopped = false;

  stop(): void {
    this.stopped = true;
  }
}

class FakeStream {
  readonly track = new FakeTrack();

  getTracks(): FakeTrack[] {
    return [this.track];
  }

  getAudioTracks(): FakeTrack[] {
    return [this.track];
  }
}

class FakeContext extends EventTarget {
  state = "running";
  readonly audioWorklet = {};

  async resume(): Promise<void> {}

  async close(): Promise<void> {
    this.state = "closed";
  }

  createMediaStreamSource(): object {
    return { connect() {}, disconnect() {} };
  }
}

let opened: FakeStream[];
let lost: number;
let mic: Microphone;
/** Lets the person answer. */
let answer: (() => void) | null;

const pageStream = (): MediaStream & FakeStream => new FakeStream() as never;

beforeEach(() => {
  opened = [];
  lost = 0;
  answer = null;
  const getUserMedia = async (): Promise<FakeStream> => {
    if (answer) await new Promise<void>((resolve) => (answer = resolve));
    opened.push(new FakeStream());
    return opened.at(-1)!;
  };
  new FakePage({ mediaDevices: { getUserMedia } });
  vi.stubGlobal("AudioContext", FakeContext);
  mic = new Microphone(16_000, { lost: () => (lost += 1), muted() {}, blocked() {} });
});

afterEach(async () => {
  await mic.close();
  vi.unstubAllGlobals();
});

const stopped = (): boolean[] => opened.map(({ track }) => track.stopped);

describe("a device", () => {
  test("is let go for the next one, and at the end", async () => {
    await mic.use({});
    await mic.use({ deviceId: "other" });
    expect(stopped()).toEqual([true, false]);
    await mic.close();
    expect(stopped()).toEqual([true, true]);
  });

  test("is let go for a stream of the page's", async () => {
    await mic.use({});
    mic.play(pageStream());
    expect(stopped()).toEqual([true]);
  });

  test("that the person allows after the end is let go at once", async () => {
    answer = () => {};
    const used = mic.use({}).catch((error: unknown) => error);
    await mic.close();
    answer();
    expect(await used).toMatchObject({ code: "closed" });
    expect(stopped()).toEqual([true]);
  });

  test("that is pulled out is missed, one that was replaced is not", async () => {
    await mic.use({});
    await mic.use({});
    opened[0]!.track.dispatchEvent(new Event("ended"));
    expect(lost).toBe(0);
    opened[1]!.track.dispatchEvent(new Event("ended"));
    expect(lost).toBe(1);
  });
});

test("a stream of the page's goes on behind the call, and when another one takes its place", async () => {
  const [first, second] = [pageStream(), pageStream()];
  mic.play(first);
  mic.play(second);
  await mic.use({});
  mic.play(second);
  await mic.close();
  expect([first.track.stopped, second.track.stopped]).toEqual([false, false]);
  expect(stopped()).toEqual([true]);
});
