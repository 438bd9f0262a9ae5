import { expect, test } from "vitest";

import { Conversation } from "../src/conversation.ts";

const ITEM = { content_index: 0, event_id: "event_1" };

function asked(conversation: Conversation, id: string, transcript: string): void {
  conversation.event({ ...ITEM, type: "input_audio_buffer.speech_started", item_id: id });
  conversation.event({ ...ITEM, type: "conversation.item.input_audio_transcription.completed", item_id: id, transcript });
}

function answered(conversation: Conversation, id: string, delta: string): void {
  conversation.event({ ...ITEM, type: "response.output_audio_transcript.delta", item_id: id, delta });
}

const position = (itemId: string, heardMs: number, state: "playing" | "stopped" | "done" | "paused") => ({
  ...{ itemId, heardMs, state, generation: 1, bufferedMs: 0, underruns: 0 },
});

test("turns stand in the order in which they began", () => {
  const conversation = new Conversation();
  asked(conversation, "a", "what time is it");
  answered(conversation, "b", "It is noon.");
  expect(conversation.turns.map(({ who, text }) => [who, text])).toEqual([
    ["person", "what time is it"],
    ["agent", "It is noon."],
  ]);
});

test("somebody who speaks is there before their words are", () => {
  const conversation = new Conversation();
  conversation.event({ ...ITEM, type: "input_audio_buffer.speech_started", item_id: "a" });
  expect(conversation.turns).toEqual([{ id: "a", who: "person", state: "open", text: "", heard: 0 }]);
});

test("a cough leaves nothing behind", () => {
  const conversation = new Conversation();
  asked(conversation, "a", " ");
  expect(conversation.turns).toEqual([]);
});

test("a reply played to its end was heard whole", () => {
  const conversation = new Conversation();
  answered(conversation, "b", "That is 36.");
  conversation.audio(1, "b", 1_400);
  conversation.playback(position("b", 1_400, "done"));
  expect(conversation.turns[0]).toMatchObject({ state: "done", heard: 11 });
});

test("an interruption leaves what was heard apart from what was sent", () => {
  const conversation = new Conversation();
  answered(conversation, "b", "one two three four");
  conversation.audio(1, "b", 4_000);
  conversation.playback(position("b", 2_000, "playing"));
  conversation.playback(position("b", 2_100, "stopped"));
  const [turn] = conversation.turns;
  expect(turn).toMatchObject({ state: "interrupted" });
  expect(turn!.text.slice(0, turn!.heard)).toBe("one two");
});

test("what was paused may go on", () => {
  const conversation = new Conversation();
  answered(conversation, "b", "one two");
  conversation.playback(position("b", 100, "paused"));
  expect(conversation.turns[0]).toMatchObject({ state: "open" });
});

test("the end of a call is the end of every turn", () => {
  const conversation = new Conversation();
  conversation.event({ ...ITEM, type: "input_audio_buffer.speech_started", item_id: "a" });
  answered(conversation, "b", "one two");
  conversation.end();
  expect(conversation.turns.map(({ state }) => state)).toEqual(["interrupted"]);
});

test("events without an item are none of it", () => {
  expect(new Conversation().event({ type: "session.created" })).toBe(false);
});
