// What a browser says of the network and of a page's sleep, and that nobody is told any more after the end.

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { watchNetwork } from "../src/network-watch.ts";

let page: EventTarget;
let tab: EventTarget & { visibilityState: string };
let connection: EventTarget;
let told: boolean[];
let stop: () => void;

beforeEach(() => {
  page = new EventTarget();
  tab = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  connection = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  vi.stubGlobal("document", tab);
  vi.stubGlobal("navigator", { connection });
  told = [];
  stop = watchNetwork((moved) => told.push(moved));
});

afterEach(() => void vi.unstubAllGlobals());

function everything(): void {
  page.dispatchEvent(new Event("online"));
  connection.dispatchEvent(new Event("change"));
  page.dispatchEvent(new Event("pageshow"));
  tab.dispatchEvent(new Event("visibilitychange"));
}

test("a change of the network and a page that was asleep are told apart", () => {
  everything();
  expect(told).toEqual([true, true, false]);
  tab.visibilityState = "visible";
  tab.dispatchEvent(new Event("visibilitychange"));
  expect(told.slice(3)).toEqual([false]);
});

test("nobody is told after the end", () => {
  stop();
  tab.visibilityState = "visible";
  everything();
  expect(told).toEqual([]);
});
