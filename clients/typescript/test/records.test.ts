// The codec reads and writes exactly the bytes that wire/vectors fixes.

import { describe, expect, test } from "vitest";

import { DownlinkReceiver } from "../src/core/downlink-receiver.ts";
import { RemoteProtocolError } from "../src/errors.ts";
import { opusDurationUs } from "../src/wire/formats.ts";
import { AudioReader, ControlReader, controlRecord, downlinkRecord, uplinkRecord } from "../src/wire/records.ts";
import * as varint from "../src/wire/varint.ts";
import { bytes, cases, chunked, hex, plain } from "./vectors.ts";

/** The code of the violation that `act` ends with, if any. */
function codeOf(act: () => void): number | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof RemoteProtocolError) return error.code;
    throw error;
  }
  return undefined;
}

describe("numbers", () => {
  test.each(cases("varint.json"))("$hex", (one) => {
    const data = bytes(one.hex);
    if (one.incomplete) {
      expect(varint.decode(data, 0)).toBeNull();
      return;
    }
    const framed = Uint8Array.of(0xaa, ...data, 0xbb);
    // Above 2^53 - 1 they come out rounded, which is still above every limit.
    expect(varint.decode(framed, 1)).toEqual({ value: Number(BigInt(one.value)), next: 1 + data.length });
    const exact = BigInt(one.value) <= BigInt(Number.MAX_SAFE_INTEGER);
    if (!exact) expect(() => varint.encode(Number(one.value))).toThrow(RangeError);
    else if (one.shortest) expect(hex(varint.encode(Number(one.value)))).toBe(one.hex);
    else expect(varint.encode(Number(one.value)).length).toBeLessThan(data.length);
  });

  test.each([-1, 0.5, Number.NaN, 2 ** 53])("%d is none", (value) => {
    expect(() => varint.encode(value)).toThrow(RangeError);
  });
});

describe.each([1, 3, 1000])("in chunks of %i bytes", (size) => {
  test.each(cases("control_records.json"))("control: $name", (one) => {
    const found: unknown[] = [];
    const reader = new ControlReader(one.limit ?? 1 << 20, (type, payload) => found.push({ type, payload: hex(payload) }));
    const code = codeOf(() => chunked(bytes(one.hex), size).forEach((chunk) => reader.feed(chunk)));
    expect(found).toEqual(one.records);
    expect(code).toBe(one.code);
    if (code === undefined) expect(reader.withinRecord).toBe(one.unfinished ?? false);
  });

  test.each(cases("audio_records.json"))("$direction audio: $name", (one) => {
    const found: unknown[] = [];
    const reader = new AudioReader(one.limit ?? 1 << 16, one.direction === "uplink", (offset, captured, payload) =>
      found.push({ offset, captured, payload: hex(payload) }),
    );
    const code = codeOf(() => chunked(bytes(one.hex), size).forEach((chunk) => reader.feed(chunk)));
    const numbers = ({ offset, captured, payload }: any) => ({ offset: Number(offset), captured: Number(captured), payload });
    expect(found).toEqual(one.records.map(numbers));
    expect(code).toBe(one.code);
    if (code === undefined) expect(reader.withinRecord).toBe(one.unfinished ?? false);
  });
});

test("audio records are written as they are read", () => {
  const skipped = (one: any) => "code" in one || "unfinished" in one || /longer|largest/.test(one.name);
  const written = cases("audio_records.json").filter((one) => !skipped(one));
  for (const one of written) {
    const data = one.records.map(({ offset, captured, payload }: any) =>
      one.direction === "uplink"
        ? uplinkRecord(Number(offset), Number(captured), bytes(payload))
        : downlinkRecord(Number(offset), bytes(payload)),
    );
    expect(data.map(hex).join("")).toBe(one.hex);
  }
  expect(written.length).toBeGreaterThan(5);
});

test("control records are written as they are read", () => {
  const [first] = cases("control_records.json");
  expect(hex(controlRecord(bytes(first!.records[0].payload)))).toBe(first!.hex);
});

test("a large record arrives in small pieces", () => {
  const found: number[] = [];
  const reader = new ControlReader(1 << 20, (_, payload) => found.push(payload.length));
  const data = controlRecord(new Uint8Array(1 << 20));
  chunked(data, 1000).forEach((chunk) => reader.feed(chunk));
  expect(found).toEqual([1 << 20]);
  expect(reader.withinRecord).toBe(false);
});

describe("Opus durations", () => {
  test.each(cases("opus_durations.json"))("$hex", (one) => {
    if (one.duration_us === null) expect(() => opusDurationUs(bytes(one.hex))).toThrow("Opus packet");
    else expect(opusDurationUs(bytes(one.hex))).toBe(one.duration_us);
  });
});

describe("first bytes of streams", () => {
  test.each(cases("stream_headers.json"))("$name", (one) => {
    const data = bytes(one.hex);
    const type = varint.decode(data, 0)!;
    expect(type.value).toBe(one.type);
    if (type.value !== 2) return;
    const receiver = new DownlinkReceiver(1 << 16, () => {});
    const rest = Uint8Array.of(...data.slice(type.next), 1, 2);
    let behind: Uint8Array | null = null;
    expect(codeOf(() => (behind = receiver.readHeader(rest)))).toBe(one.code);
    if ("code" in one) return;
    expect(behind).toEqual(Uint8Array.of(1, 2));
    expect(plain(receiver.header)).toEqual(one.header);
  });
});
