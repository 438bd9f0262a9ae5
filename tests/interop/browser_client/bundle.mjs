// Bundles a program as an application's bundler would, with the packages of clients/typescript beside it.
//
//     node bundle.mjs ENTRY OUTFILE

import { resolve } from "node:path";

import { build } from "../../../clients/typescript/node_modules/esbuild/lib/main.js";

const PACKAGE = resolve(import.meta.dirname, "../../../clients/typescript");
const DOORS = { "legato-voice": "index", "legato-voice/websocket": "websocket", "legato-voice/openai-agents": "openai-agents" };

const [entry, outfile] = process.argv.slice(2);
await build({
    ...{ entryPoints: [entry], outfile, bundle: true, format: "esm", target: "es2022", logLevel: "error" },
    alias: Object.fromEntries(Object.entries(DOORS).map(([name, file]) => [name, `${PACKAGE}/dist/${file}.js`])),
    nodePaths: [`${PACKAGE}/node_modules`],
});
