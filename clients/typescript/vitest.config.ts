// How tests run: in virtual time, so that a limit in real time is only for tests that stand still.

import { defineConfig } from "vitest/config";

export default defineConfig({ test: { testTimeout: 60_000 } });
