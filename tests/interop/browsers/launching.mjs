// Starts a browser of this machine, with nothing but the page's own traffic.
//
// Owns how each browser is started. Must not know what a page does.

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

/** The browser, with what `more` adds: `args` for Chromium, `preferences` for Firefox, `options` for both. */
export function launch(name, executablePath, { args = [], preferences = {}, options = {} } = {}) {
    const start = STARTS[name];
    const own =
        name === "firefox"
            ? { extraPrefsFirefox: { ...start.extraPrefsFirefox, ...preferences } }
            : { args: [...start.args, ...args] };
    const browser = name === "firefox" ? "firefox" : "chrome";
    return puppeteer.launch({ browser, executablePath, headless: true, timeout: 30_000, ...options, ...own });
}
