// Starts a browser of this machine with a microphone of its own making, plays a page and a strict version of
// it by a click on its button, and prints what they saw as one line of JSON.
//
//     node drive.mjs chromium|firefox EXECUTABLE PAGE_URL PARAMETERS_AS_JSON
//
// Owns how each browser is started. Must not know what the page does.

import { createRequire } from "node:module";

const neighbour = createRequire(new URL("../browsers/package.json", import.meta.url));
const { default: puppeteer } = await import(neighbour.resolve("puppeteer-core"));

const STARTS = {
    chromium: {
        args: [
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ],
    },
    firefox: {
        extraPrefsFirefox: {
            // Nothing but the page's own traffic.
            "app.update.enabled": false,
            "browser.safebrowsing.downloads.remote.enabled": false,
            "datareporting.policy.dataSubmissionEnabled": false,
            "extensions.update.enabled": false,
            "network.captive-portal-service.enabled": false,
            "network.connectivity-service.enabled": false,
            "media.navigator.streams.fake": true,
            "media.navigator.permission.disabled": true,
        },
    },
};

const [browserName, executablePath, pageUrl, parameters] = process.argv.slice(2);

const browser = await puppeteer.launch({
    browser: browserName === "firefox" ? "firefox" : "chrome",
    executablePath,
    headless: true,
    // WebTransport has the hash of the server's certificate; a WebSocket cannot be given one.
    acceptInsecureCerts: true,
    timeout: 30_000,
    protocolTimeout: 80_000,
    ...STARTS[browserName],
});
try {
    const page = await browser.newPage();
    // Read only when the page fails as a whole; see the caller.
    page.on("console", (message) => console.error(message.text()));
    page.on("pageerror", (error) => console.error(error));
    const seen = {};
    for (const url of [pageUrl, `${pageUrl}?strict`]) {
        await page.goto(url);
        await page.evaluate((given) => window.play(given), JSON.parse(parameters));
        await page.click("button");
        Object.assign(seen, await page.evaluate(() => window.played));
    }
    process.stdout.write(JSON.stringify(seen) + "\n");
} finally {
    await browser.close();
}
