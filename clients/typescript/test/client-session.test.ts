// Whole sessions of wire/vectors, and what they cannot say: operations of the owner.

import { describe, expect, test } from "vitest";

import { ClientSession } from "../src/core/client-session.ts";
import { LocalProtocolError } from "../src/errors.ts";
import type { Hello, Playback } from "../src/wire/messages.ts";
import { ControlReader, controlRecord } from "../src/wire/records.ts";
import { bytes, cases, hex, plain, snake, type Case } from "./vectors.ts";

const CLIENTS = cases("sessions.json").filter((one) => one.role === "client");
const HELLO = CLIENTS[0]!.hello as Hello;
const PCM_HELLO: Hello = { ...HELLO, input: { codec: "pcm16", rate: 16_000, channels: 1 } };
const WELCOME = cases("welcome.json")[0]!.event;
const decoder = new TextDecoder();

const json = (event: object): Uint8Array => controlRecord(new TextEncoder().encode(JSON.stringify(event)));

function welcomed(hello = PCM_HELLO, options = {}, welcome: object = {}): ClientSession {
  const session = new ClientSession(hello, 0, options);
  session.receive(-1, json({ ...WELCOME, input: hello.input, ...welcome }), false);
  return session;
}

function replay(session: ClientSession, step: Case): void {
  switch (step.do) {
    case "stream_opened":
      return session.streamOpened(step.stream, step.bidirectional);
    case "receive":
      return step.chunks.forEach((chunk: string, index: number) =>
        session.receive(step.stream, bytes(chunk), step.fin && index === step.chunks.length - 1),
      );
    case "stream_reset":
      return session.streamReset(step.stream, step.code);
    case "stream_stopped":
      return session.streamStopped(step.stream, step.code);
    case "datagram":
      return session.datagram(bytes(step.hex));
    case "closed":
      return session.closed(step.by, step.code, step.reason, step.at ?? 0);
    case "on_deadline":
      return session.onDeadline(step.at);
    default:
      throw new Error(`unknown step ${step.do}`);
  }
}

/** The events of a session in the notation of the vectors. */
function reported(session: ClientSession): unknown[] {
  return session.events().map(({ kind, ...event }) => {
    // Of a call that nothing has interrupted, nothing is lost.
    if ("lost" in event) expect(event).toMatchObject({ lost: 0 });
    if ("lost" in event) delete (event as { lost?: number }).lost;
    const values = Object.values(plain(event)) as unknown[];
    const inner = values.length === 1 && typeof values[0] === "object" ? values[0] : plain(event);
    return { [snake(kind)]: inner };
  });
}

/** The outputs of a session in the notation of the vectors: all but bytes on audio streams. */
function askedFor(session: ClientSession): unknown[] {
  const found: unknown[] = [];
  const reader = new ControlReader(1 << 20, (_, payload) => found.push({ event: JSON.parse(decoder.decode(payload)) }));
  for (const output of session.outputs()) {
    if (output.kind === "open") found.push({ open: output.key, bidirectional: output.bidirectional });
    else if (output.kind === "stop") found.push({ stop: output.stream, code: output.code });
    else if (output.kind === "datagram") found.push({ datagram: hex(output.data) });
    else if (output.kind === "close") found.push({ close: output.code });
    else if (output.key === -1) reader.feed(output.data);
  }
  return found;
}

function sessionFor(one: Case): ClientSession {
  const limits = one.limits ? { limits: { ...new ClientSession(HELLO, 0).limits, ...one.limits } } : {};
  const session = new ClientSession(one.hello, 0, limits);
  session.outputs();
  return session;
}

describe("sessions of the vectors", () => {
  test.each(CLIENTS)("$name", (one) => {
    const session = sessionFor(one);
    for (const step of one.steps) {
      replay(session, step);
      const [events, outputs] = [reported(session), askedFor(session)];
      if (step.events) {
        expect(events).toHaveLength(step.events.length);
        expect(events).toMatchObject(step.events);
      }
      if (step.outputs) {
        expect(outputs).toHaveLength(step.outputs.length);
        expect(outputs).toMatchObject(step.outputs);
      }
    }
  });
});

describe("violations of the vectors", () => {
  test.each(cases("malformed.json").filter((one) => one.role === "client"))("$name", (one) => {
    const session = sessionFor(one);
    for (const step of one.steps.slice(0, -1)) {
      replay(session, step);
      expect(session.state).not.toBe("closed");
    }
    replay(session, one.steps.at(-1));
    const last = session.events().at(-1);
    expect(last).toMatchObject({ kind: "sessionEnded", by: "local", code: one.code });
    expect(last).toHaveProperty("reason", expect.stringMatching(/./));
    expect(session.outputs().at(-1)).toMatchObject({ kind: "close", code: one.code });
    one.steps.forEach((step: Case) => replay(session, step));
    expect([session.events(), session.outputs(), session.nextDeadline]).toEqual([[], [], null]);
  });
});

describe("welcomes of the vectors", () => {
  test.each(cases("welcome.json"))("$name", (one) => {
    const session = new ClientSession(HELLO, 0);
    session.receive(-1, json(one.event), false);
    const [event] = session.events();
    if ("code" in one) expect(event).toMatchObject({ kind: "sessionEnded", code: one.code });
    else expect(event).toMatchObject({ kind: "welcomed", welcome: one.reads });
  });
});

describe("a hello", () => {
  test.each(cases("hello.json").filter((one) => !("code" in one)))("goes out as it is: $name", ({ event }) => {
    const session = new ClientSession(event as Hello, 0);
    expect(askedFor(session)).toEqual([{ open: -1, bidirectional: true }, { event }]);
  });
});

describe("captured audio", () => {
  const samples = (count: number): Uint8Array => new Uint8Array(2 * count);

  test("is sent before the welcome, grouped and timed", () => {
    const session = new ClientSession(PCM_HELLO, 0);
    session.outputs();
    expect(session.sendAudio(Uint8Array.of(1, 0, 2, 0), 7)).toBe(2);
    expect(session.sendAudio(Uint8Array.of(3, 0), 8)).toBe(3);
    session.endUtterance();
    const [open, ...sent] = session.outputs();
    expect(open).toEqual({ kind: "open", key: -2, bidirectional: false });
    expect(sent.map((one) => one.kind === "send" && [hex(one.data), one.fin])).toEqual([
      ["01", false],
      ["06000701000200", false],
      ["0402080300", false],
      ["", true],
    ]);
  });

  test("waits for the window and goes on with an acknowledgement", () => {
    const session = welcomed(PCM_HELLO, {}, { limits: { window_ms: 1_000 } });
    session.outputs();
    session.sendAudio(samples(16_000), 0);
    session.outputs();
    session.sendAudio(samples(320), 0);
    expect(session.outputs()).toEqual([]);
    session.receive(-1, json({ type: "legato.audio_ack", offset: 16_000 }), false);
    expect(session.outputs().filter((one) => one.kind === "send")).toHaveLength(1);
    expect([session.acked, session.captured]).toEqual([16_000, 16_320]);
  });

  test("that a full ring gave up is declared lost, once", () => {
    const uplink = { groupUs: 1e7, ringUs: 1e6, ringMaxUs: 1e6, ringBytes: 1 << 20 };
    const session = welcomed(PCM_HELLO, { uplink }, { limits: { window_ms: 100 } });
    session.sendAudio(samples(1_600), 0);
    session.outputs();
    for (let second = 0; second < 3; second += 1) session.sendAudio(samples(16_000), 0);
    session.receive(-1, json({ type: "legato.audio_ack", offset: 1_600 }), false);
    expect(askedFor(session)).toEqual([{ event: { type: "legato.audio_gap", from: 1_600, to: 33_600 } }]);
    session.receive(-1, json({ type: "legato.audio_ack", offset: 33_600 }), false);
    expect(session.outputs().filter((one) => one.kind === "send")).toHaveLength(1);
  });

  test("of a session that failed is carried into the next", () => {
    const first = new ClientSession(PCM_HELLO, 0);
    first.sendAudio(samples(320), 5);
    first.closed("transport", 0, "gone", 0);
    const second = new ClientSession(PCM_HELLO, 0, { carried: first.carried });
    expect(second.captured).toBe(320);
    expect(second.outputs().filter((one) => one.kind === "send" && one.key === -2)).toHaveLength(2);
  });

  test("that cannot be audio is refused with a reason", () => {
    const session = welcomed();
    expect(() => session.sendAudio(Uint8Array.of(1), 0)).toThrow(LocalProtocolError);
    expect(() => session.sendAudio(new Uint8Array(0), 0)).toThrow("leave it out");
  });

  test("longer than a record is cut at samples", () => {
    const session = welcomed();
    session.outputs();
    session.sendAudio(samples(40_000), 0);
    expect(session.outputs().filter((one) => one.kind === "send")).toHaveLength(3);
    expect(session.captured).toBe(40_000);
  });
});

describe("a session that continues another", () => {
  const RESUMABLE = { resume_ticket: "t", resume_ttl_ms: 60_000 };
  const OPTIONS = { resumeUs: 60_000_000 };

  /** A call with a whole reply and an event of either side; and the session that goes on with it, not welcomed yet. */
  function continued(): [old: ClientSession, next: ClientSession] {
    const old = welcomed(PCM_HELLO, OPTIONS, RESUMABLE);
    const steps = CLIENTS.find((one) => one.name === "a reply")!.steps;
    steps.slice(1).forEach((step: Case) => replay(old, step));
    old.sendAudio(new Uint8Array(640), 0);
    old.sendEvent({ type: "x" });
    old.receive(-1, json({ type: "y", number: 1 }), false);
    const next = new ClientSession({ ...PCM_HELLO, resume: old.resumeRequest() }, 0, { ...OPTIONS, continues: old });
    next.outputs();
    return [old, next];
  }

  const welcome = (next: ClientSession, more: object = {}): void =>
    next.receive(-1, json({ ...WELCOME, ...RESUMABLE, input: PCM_HELLO.input, resumed: true, uplink_offset: 0, events: 0, ...more }), false);

  test("says which replies are whole, and how many events were taken", () => {
    const [, next] = continued();
    expect(next.hello.resume).toMatchObject({ ticket: "t", events: 1, downlink: [{ generation: 1, complete: true }] });
  });

  test("takes over with the welcome, and the old one ends", () => {
    const [old, next] = continued();
    next.sendHeartbeat(1);
    expect(askedFor(next)).toEqual([{ datagram: "0001" }]);
    welcome(next);
    expect(askedFor(next)).toEqual([
      { event: { type: "legato.event_ack", count: 1 } },
      { event: { type: "x" } },
      { open: -2, bidirectional: false },
    ]);
    expect(old.outputs().at(-1)).toEqual({ kind: "close", code: 11, reason: "another connection continues the call" });
    expect(next.captured).toBe(320);
  });

  test("takes no event twice that the old connection brought after the hello", () => {
    const [old, next] = continued();
    old.receive(-1, json({ type: "y", number: 2 }), false);
    welcome(next);
    next.events();
    next.receive(-1, json({ type: "y", number: 2 }), false);
    next.receive(-1, json({ type: "y", number: 3 }), false);
    expect(next.events()).toEqual([{ kind: "eventReceived", event: { type: "y", number: 3 } }]);
  });

  test("says again what the player did since the hello", () => {
    const [old, next] = continued();
    const report = { item_id: "item_1", content_index: 0, generation: 1, played: 2, buffered: 0, underruns: 0, state: "done" } as const;
    old.reportPlayback({ type: "legato.playback", ...report });
    welcome(next);
    expect(askedFor(next)).toContainEqual({ event: { type: "legato.playback", ...report } });
  });

  test("begins another call where the server knows the old one no more: its replies are dropped", () => {
    const [, next] = continued();
    welcome(next, { resumed: false });
    expect(next.events()).toMatchObject([{ kind: "flushed", first: 1, generation: 1 }, { kind: "welcomed", lost: 0 }]);
    expect(askedFor(next)).toEqual([{ open: -2, bidirectional: false }]);
  });

  test.each([
    ["wants audio that was never captured", { uplink_offset: 321 }],
    ["has taken events that were never said", { events: 2 }],
  ])("breaks off when the server %s", (_, more) => {
    const [old, next] = continued();
    welcome(next, more);
    expect(next.events().at(-1)).toMatchObject({ kind: "sessionEnded", by: "local", code: 2 });
    expect(old.state).toBe("active");
  });

  test("does not, of a call that has ended meanwhile", () => {
    const [old, next] = continued();
    old.close(0, "hung up");
    welcome(next);
    expect(next.events().at(-1)).toMatchObject({ kind: "sessionEnded", by: "local", code: 0 });
  });

  const CHECKPOINT = { type: "legato.checkpoint", state: "s", uplink_offset: 160, events: 0 };

  test("shows the latest checkpoint, and keeps what follows it though it was acknowledged", () => {
    const [old] = continued();
    old.sendAudio(new Uint8Array(640), 0);
    old.receive(-1, json(CHECKPOINT), false);
    old.receive(-1, json({ type: "legato.audio_ack", offset: 640 }), false);
    old.receive(-1, json({ type: "legato.event_ack", count: 1 }), false);
    expect([old.carries, old.resumeRequest()]).toMatchObject([true, { checkpoint: "s", uplink_offset: 0 }]);
    const next = new ClientSession({ ...PCM_HELLO, resume: old.resumeRequest() }, 0, { ...OPTIONS, continues: old });
    next.outputs();
    welcome(next, { rebuilt: true });
    expect(askedFor(next)).toContainEqual({ event: { type: "x" } });
    expect([next.acked, next.captured]).toEqual([0, 640]);
  });

  test("drops what a server that is gone has said and begun since the hello", () => {
    const [old, next] = continued();
    old.receive(-1, json({ type: "y", number: 2 }), false);
    welcome(next, { rebuilt: true });
    next.events();
    next.receive(-1, json({ type: "z", number: 2 }), false);
    expect(next.events()).toEqual([{ kind: "eventReceived", event: { type: "z", number: 2 } }]);
    expect(next.resumeRequest()).toMatchObject({ events: 2 });
  });

  test.each([
    ["of audio that was never sent", { uplink_offset: 321 }],
    ["of events that were never said", { events: 2 }],
    ["without a state", { state: 5 }],
    ["of more than may be", { state: "s".repeat(131_073) }],
  ])("takes no checkpoint %s", (_, more) => {
    const [old] = continued();
    old.receive(-1, json({ ...CHECKPOINT, ...more }), false);
    expect(old.outputs().at(-1)).toMatchObject({ kind: "close", code: 2 });
  });

  test("is not to be had without a ticket, or where nobody wants it", () => {
    expect(welcomed(PCM_HELLO, OPTIONS).resumeRequest()).toBeNull();
    expect(welcomed(PCM_HELLO, {}, RESUMABLE).resumeRequest()).toBeNull();
  });

  test("finds a lost one waiting, and no longer than the server would", () => {
    const old = welcomed(PCM_HELLO, OPTIONS, { ...RESUMABLE, resume_ttl_ms: 5_000 });
    old.events();
    old.closed("transport", 0, "gone", 1_000);
    expect([old.state, old.nextDeadline]).toEqual(["parked", 5_001_000]);
    old.sendAudio(new Uint8Array(640), 0);
    old.sendEvent({ type: "x" });
    expect([old.outputs(), old.captured]).toEqual([[], 320]);
    old.onDeadline(5_001_000);
    expect(old.events()).toMatchObject([{ kind: "connectionLost" }, { kind: "sessionEnded", by: "transport", reason: "gone" }]);
  });
});

describe("operations", () => {
  const report: Playback = {
    ...{ type: "legato.playback", item_id: "item_1", content_index: 0, generation: 1 },
    ...{ played: 1, buffered: 0, underruns: 0, state: "done" },
  };

  test("playback is reported after the welcome only", () => {
    expect(() => new ClientSession(HELLO, 0).reportPlayback(report)).toThrow("wait for the welcome");
    const session = welcomed();
    session.outputs();
    session.reportPlayback(report);
    expect(askedFor(session)).toEqual([{ event: report }]);
  });

  test("a heartbeat comes back under its number", () => {
    const session = welcomed();
    session.events();
    session.outputs();
    session.sendHeartbeat(300);
    expect(askedFor(session)).toEqual([{ datagram: "00412c" }]);
    session.datagram(bytes("01412c"));
    expect(session.events()).toEqual([{ kind: "heartbeatReturned", sequence: 300 }]);
    session.datagram(bytes("00412c"));
    expect(askedFor(session)).toEqual([{ datagram: "01412c" }]);
  });

  test.each([
    [{ type: 5 }, "needs a"],
    [{ type: "legato.playback" }, "operation of the session"],
    [{ type: "x", big: 1n }, "plain values"],
    [{ type: "x", long: "x".repeat(1 << 20) }, "reads at most"],
  ])("an event that cannot be sent says why (%#)", (event, reason) => {
    expect(() => welcomed().sendEvent(event as never)).toThrow(reason);
  });

  test("a close reason keeps to its limit in whole characters", () => {
    const session = welcomed();
    session.outputs();
    session.close(0, "é".repeat(600) + "x");
    const [close] = session.outputs();
    expect(close).toMatchObject({ kind: "close", reason: "é".repeat(512) });
  });

  test("a resume says what is held of each reply", () => {
    const session = welcomed(PCM_HELLO, { resumeUs: 1e6 }, { resume_ticket: "t", resume_ttl_ms: 1_000 });
    const steps = CLIENTS.find((one) => one.name === "a reply")!.steps;
    steps.slice(1, 3).forEach((step: Case) => replay(session, step));
    session.sendAudio(new Uint8Array(640), 0);
    session.reportPlayback({ ...report, state: "playing" });
    expect(session.resumeRequest()).toEqual({
      ticket: "t",
      uplink_offset: 0,
      downlink: [
        { generation: 1, item_id: "item_1", content_index: 0, received: 2, played: 1, complete: false, state: "playing" },
      ],
      events: 0,
      checkpoint: null,
    });
  });
});
