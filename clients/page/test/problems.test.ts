import { expect, test } from "vitest";

import { problem, PROBLEMS } from "../src/problems.ts";

test.each(Object.entries(PROBLEMS))("%s has a title and says what helps", (code, { title, help }) => {
  expect(problem(code, "")).toBe(PROBLEMS[code as keyof typeof PROBLEMS]);
  expect(title).not.toMatch(/[.:]$/);
  expect(help).toMatch(/[.]$/);
});

test("a code that this page does not know is told in the package's words", () => {
  expect(problem("new-kind", "The moon is in the way.")).toMatchObject({ help: "The moon is in the way." });
});
