import { expect, test } from "vitest";

import { compromises, problem, PROBLEMS } from "../src/problems.ts";

test.each(Object.entries(PROBLEMS))("%s has a title and says what helps", (code, { title, help }) => {
  expect(problem(code, "")).toBe(PROBLEMS[code as keyof typeof PROBLEMS]);
  expect(title).not.toMatch(/[.:]$/);
  expect(help).toMatch(/[.]$/);
});

test("a code that this page does not know is told in the package's words", () => {
  expect(problem("new-kind", "The moon is in the way.")).toMatchObject({ help: "The moon is in the way." });
});

test("a call as it should be needs no words", () => {
  expect(compromises("webtransport", false, null, "opus")).toBe("");
  expect(compromises("websocket", true, null, "opus")).toBe("");
  expect(compromises(null, false, null, "")).toBe("");
});

test("a call without UDP, or without Opus, says so", () => {
  expect(compromises("websocket", false, "no answer", "opus")).toMatch(/WebSocket/);
  expect(compromises("webtransport", false, null, "pcm16")).toMatch(/^This browser does not encode Opus/);
});
