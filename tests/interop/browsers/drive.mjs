// Starts a browser of this machine, lets a page play all scenes of a module, prints what it saw as one line of JSON,
// and keeps the browser until its own input ends.
//
//     node drive.mjs chromium|firefox EXECUTABLE PAGE_URL MODULE PARAMETERS_AS_JSON
//
// Owns the browser's life. Must not know what the scenes are.

import { text } from "node:stream/consumers";

import { launch } from "./launching.mjs";

const [browserName, executablePath, pageUrl, module, parameters] = process.argv.slice(2);

const browser = await launch(browserName, executablePath, { options: { protocolTimeout: 50_000 } });
try {
    const page = await browser.newPage();
    await page.goto(pageUrl);
    const play = async (path, given) => (await import(path)).playAll(given);
    const seen = await page.evaluate(play, `./${module}`, JSON.parse(parameters));
    process.stdout.write(JSON.stringify(seen) + "\n");
    await text(process.stdin);
} finally {
    await browser.close();
}
