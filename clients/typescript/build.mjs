// Builds dist/: the package in one file, and the threads' code beside it for pages that may not make their own.

import { readFile, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const BUDGET_KB = 40;
const THREADS = {
  worker: ["src/network/worker.ts", "dist/network-worker.js"],
  capture: ["src/audio/capture-worklet.ts", "dist/capture-worklet.js"],
  playback: ["src/audio/playback-worklet.ts", "dist/playback-worklet.js"],
};
const SHARED = { bundle: true, minify: true, target: "es2022", legalComments: "none", logLevel: "warning" };

await rm("dist", { recursive: true, force: true });
for (const [entry, outfile] of Object.values(THREADS)) {
  await build({ ...SHARED, entryPoints: [entry], outfile, format: "iife" });
}

/** The threads' code as text, for `legato:threads`. */
const threads = {
  name: "threads",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^legato:threads$/ }, () => ({ path: "threads", namespace: "legato" }));
    onLoad({ filter: /.*/, namespace: "legato" }, async () => {
      const texts = Object.entries(THREADS).map(async ([name, [, file]]) => {
        return `export const ${name} = ${JSON.stringify(await readFile(file, "utf-8"))};`;
      });
      return { contents: (await Promise.all(texts)).join("\n"), loader: "js" };
    });
  },
};

const esm = { ...SHARED, format: "esm", sourcemap: true };
await build({ ...esm, entryPoints: ["src/index.ts"], outfile: "dist/index.js", plugins: [threads] });

/** The adapters share the package itself, and bring nothing of anybody else's. */
const shared = {
  name: "shared",
  setup({ onResolve }) {
    onResolve({ filter: /\/(connect|errors)\.ts$/ }, () => ({ path: "./index.js", external: true }));
    onResolve({ filter: /^@openai\// }, ({ path }) => ({ path, external: true }));
  },
};
const ADAPTERS = ["websocket", "openai-agents"];
for (const name of ADAPTERS) {
  await build({ ...esm, entryPoints: [`src/adapters/${name}.ts`], outfile: `dist/${name}.js`, plugins: [shared] });
}

const kb = async (file) => gzipSync(await readFile(file), { level: 9 }).length / 1_000;
const others = [...Object.values(THREADS).map(([, file]) => file), ...ADAPTERS.map((name) => `dist/${name}.js`)];
for (const file of ["dist/index.js", ...others]) {
  console.log(`${file.padEnd(26)} ${(await kb(file)).toFixed(1).padStart(6)} kB gzipped`);
}
if ((await kb("dist/index.js")) > BUDGET_KB) {
  console.error(`dist/index.js is over its budget of ${BUDGET_KB} kB`);
  process.exitCode = 1;
}
