// How tests run: in virtual time, so that a limit in real time is only for tests that stand still.

import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

/** The code of the other threads, which only a build has. */
const threads = fileURLToPath(new URL("test/threads.ts", import.meta.url));

export default defineConfig({ test: { testTimeout: 60_000 }, resolve: { alias: { "legato:threads": threads } } });
