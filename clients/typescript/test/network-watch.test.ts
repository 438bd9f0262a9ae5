// What a browser says of the network and of a page's sleep, and that nobody is told any more after the end.

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { watchNetwork } from "../src/network-watch.ts";
import { FakePage } from "./page.ts";

let page: FakePage;
let connection: EventTarget;
let told: boolean[];
let stop: () => void;

beforeEach(() => {
  connection = new EventTarget();
  page = new FakePage({ connection });
  page.tab.visibilityState = "hidden";
  told = [];
  stop = watchNetwork((moved) => told.push(moved));
});

afterEach(() => void vi.unstubAllGlobals());

function everything(): void {
  page.window.dispatchEvent(new Event("online"));
  connection.dispatchEvent(new Event("change"));
  page.window.dispatchEvent(new Event("pageshow"));
  page.tab.dispatchEvent(new Event("visibilitychange"));
}

test("a change of the network and a page that was asleep are told apart", () => {
  everything();
  expect(told).toEqual([true, true, false]);
  page.tab.visibilityState = "visible";
  page.tab.dispatchEvent(new Event("visibilitychange"));
  expect(told.slice(3)).toEqual([false]);
});

test("nobody is told after the end", () => {
  stop();
  page.tab.visibilityState = "visible";
  everything();
  expect(told).toEqual([]);
});
