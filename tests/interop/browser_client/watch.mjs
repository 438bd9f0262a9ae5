// Opens pages in Chromium with a microphone of its own making, presses their button, waits until a reply is heard, presses
// it again, and prints what the pages showed, one JSON object for all.
//
//     node watch.mjs EXECUTABLE PAGE_URL...

import { launch } from "../browsers/launching.mjs";

const PATIENCE_MS = 30_000;
const [executablePath, ...urls] = process.argv.slice(2);

const browser = await launch("chromium", executablePath, {
    args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    options: { acceptInsecureCerts: true, protocolTimeout: 80_000 },
});
try {
    const seen = [];
    for (const url of urls) {
        const page = await browser.newPage();
        page.on("pageerror", (error) => console.error(error));
        const shown = (id) => page.$eval(`#${id}`, (element) => element.textContent);
        const until = (condition) => page.waitForFunction(condition, { timeout: PATIENCE_MS });
        await page.goto(url);
        const before = await shown("state");
        await page.click("button");
        await until(`Number(document.querySelector("#heard").textContent) > 0.5 || document.querySelector("#problem").textContent`);
        // A busy machine may look like a silent path for a moment.
        await until(`document.querySelector("#state").textContent !== "uncertain"`);
        const during = { state: await shown("state"), problem: await shown("problem") };
        await page.click("button");
        await until("document.querySelector('#state').textContent === 'ended'");
        seen.push({ before, ...during, after: await shown("state") });
        await page.close();
    }
    process.stdout.write(JSON.stringify(seen) + "\n");
} finally {
    await browser.close();
}
