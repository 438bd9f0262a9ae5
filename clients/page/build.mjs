// Builds the page into the Python package, src/legato/server/page: one document, and files named by what is in them.
//
//     node build.mjs [FOLDER]
//
// The new page takes the old one's place only when it is whole. Owns where the files of the page come from.

import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const PACKAGE = join(HERE, "../typescript/src");
const FONTS = join(HERE, "node_modules/@fontsource-variable");
const BUDGET_KB = 60;
const target = resolve(process.argv[2] ?? join(HERE, "../../src/legato/server/page"));
const fresh = `${target}.new-${process.pid}`;
const assets = join(fresh, "assets");

const SHARED = {
  ...{ bundle: true, minify: true, legalComments: "none", logLevel: "warning", charset: "utf8" },
  ...{ target: ["es2022", "chrome107", "firefox110", "safari16"], outdir: assets, metafile: true },
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".woff2": "file", ".svg": "file" },
};

/** The strict policy of the page forbids code that is made on the spot, so the package need not carry any. */
const noCarriedThreads = {
  name: "threads",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^legato:threads$/ }, () => ({ path: "threads", namespace: "legato" }));
    const contents = 'export const worker = "", capture = "", playback = "";';
    onLoad({ filter: /.*/, namespace: "legato" }, () => ({ contents, loader: "js" }));
  },
};

/** Bundles one file; returns the address of what came of it. */
async function bundle(entry, more = {}) {
  const { metafile } = await build({ ...SHARED, entryPoints: [entry], ...more });
  const made = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint);
  return `/assets/${basename(made[0])}`;
}

await rm(fresh, { recursive: true, force: true });
await mkdir(assets, { recursive: true });

// The package says that importing it does nothing, which is not so for what a thread begins with.
const thread = { format: "iife", ignoreAnnotations: true };
const threads = {
  worker: await bundle(join(HERE, "src/network-worker.ts"), thread),
  capture: await bundle(join(PACKAGE, "audio/capture-worklet.ts"), thread),
  playback: await bundle(join(PACKAGE, "audio/playback-worklet.ts"), thread),
};
const script = await bundle(join(HERE, "src/main.ts"), {
  format: "esm",
  alias: { "legato-voice": join(PACKAGE, "index.ts") },
  plugins: [noCarriedThreads],
  define: { THREADS: JSON.stringify(threads) },
});
const style = await bundle(join(HERE, "src/style.css"), { nodePaths: [join(HERE, "node_modules")] });
const icon = await bundle(join(HERE, "src/icon.svg"), { loader: { ".svg": "copy" } });
const document = await readFile(join(HERE, "src/index.html"), "utf-8");
const places = { script, style, icon };
await writeFile(join(fresh, "index.html"), document.replace(/\{\{(\w+)\}\}/g, (_, name) => places[name]));
for (const font of ["instrument-sans", "newsreader"]) {
  // The license of the letters goes where they go.
  await writeFile(join(fresh, `LICENSE-${font}.txt`), await readFile(join(FONTS, font, "LICENSE")));
}

await rm(target, { recursive: true, force: true });
await rename(fresh, target);

const sizes = await Promise.all(
  (await readdir(join(target, "assets"))).map(async (name) => {
    const data = await readFile(join(target, "assets", name));
    return [name, (name.endsWith(".woff2") ? data.length : gzipSync(data, { level: 9 }).length) / 1_000];
  }),
);
for (const [name, kb] of sizes) console.log(`${name.padEnd(60)} ${kb.toFixed(1).padStart(6)} kB`);
const code = sizes.filter(([name]) => !name.endsWith(".woff2")).reduce((sum, [, kb]) => sum + kb, 0);
if (code > BUDGET_KB) {
  console.error(`the page's code has ${code.toFixed(1)} kB, its budget is ${BUDGET_KB} kB`);
  process.exitCode = 1;
}
