// Starts a browser of this machine, lets a page play all scenes of a module, prints what it saw as one line of JSON,
// and keeps the browser until its own input ends.
//
//     node drive.mjs chromium|firefox EXECUTABLE PAGE_URL MODULE PARAMETERS_AS_JSON
//
// Owns how each browser is started. Must not know what the scenes are.

import { text } from "node:stream/consumers";

import puppeteer from "puppeteer-core";

const STARTS = {
    chromium: {
        args: [
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    },
    firefox: {
        // Nothing but the page's own traffic.
        extraPrefsFirefox: {
            "app.update.enabled": false,
            "browser.safebrowsing.downloads.remote.enabled": false,
            "datareporting.policy.dataSubmissionEnabled": false,
            "extensions.update.enabled": false,
            "network.captive-portal-service.enabled": false,
            "network.connectivity-service.enabled": false,
        },
    },
};

const [browserName, executablePath, pageUrl, module, parameters] = process.argv.slice(2);

const browser = await puppeteer.launch({
    browser: browserName === "firefox" ? "firefox" : "chrome",
    executablePath,
    headless: true,
    timeout: 30_000,
    protocolTimeout: 50_000,
    ...STARTS[browserName],
});
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
