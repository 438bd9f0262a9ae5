// Starts a browser of this machine with a microphone of its own making, plays pages by a click on their button, one
// after another, and prints what they saw as one line of JSON.
//
//     node drive.mjs chromium|firefox EXECUTABLE PARAMETERS_AS_JSON PAGE_URL...
//
// Must not know what the pages do.

import { launch } from "../browsers/launching.mjs";

const [browserName, executablePath, parameters, ...urls] = process.argv.slice(2);

const browser = await launch(browserName, executablePath, {
    args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    preferences: { "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true },
    // WebTransport has the hash of the server's certificate; a WebSocket cannot be given one.
    options: { acceptInsecureCerts: true, protocolTimeout: 110_000 },
});
try {
    const page = await browser.newPage();
    // Read only when the page fails as a whole; see the caller.
    page.on("console", (message) => console.error(message.text()));
    page.on("pageerror", (error) => console.error(error));
    const seen = {};
    for (const url of urls) {
        await page.goto(url);
        await page.evaluate((given) => window.play(given), JSON.parse(parameters));
        await page.click("button");
        Object.assign(seen, await page.evaluate(() => window.played));
    }
    process.stdout.write(JSON.stringify(seen) + "\n");
} finally {
    await browser.close();
}
