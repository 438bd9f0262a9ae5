import { expect, test } from "vitest";

import { Spoken } from "../src/spoken.ts";

const heard = (spoken: Spoken): string => spoken.text.slice(0, spoken.heardCharacters);

test("nothing is heard before the player says so", () => {
  const spoken = new Spoken();
  spoken.say("Once upon a time.");
  spoken.arrived(2_000);
  expect(heard(spoken)).toBe("");
});

test("within a piece, words are heard one after another", () => {
  const spoken = new Spoken();
  spoken.say("one two three four");
  spoken.arrived(4_000);
  spoken.listened(1_900);
  expect(heard(spoken)).toBe("one");
  spoken.listened(2_000);
  expect(heard(spoken)).toBe("one two");
  spoken.listened(4_000);
  expect(heard(spoken)).toBe("one two three four");
});

test("a piece begins where the audio ended that had arrived before it", () => {
  const spoken = new Spoken();
  spoken.say("one two.");
  spoken.arrived(1_000);
  spoken.say(" three four.");
  spoken.arrived(3_000);
  spoken.listened(1_000);
  expect(heard(spoken)).toBe("one two.");
  spoken.listened(2_000);
  expect(heard(spoken)).toBe("one two. three");
});

test("words that outrun their sound are not taken for heard", () => {
  const spoken = new Spoken();
  spoken.say("a sentence of some length that takes a while.");
  spoken.say(" And another one.");
  spoken.arrived(200);
  spoken.listened(200);
  expect(heard(spoken).length).toBeLessThan(12);
});

test("the position never goes back, and the end is the end", () => {
  const spoken = new Spoken();
  spoken.say("one two");
  spoken.listened(900);
  spoken.listened(100);
  expect(spoken.heardMs).toBe(900);
  spoken.finish();
  expect(heard(spoken)).toBe("one two");
});
