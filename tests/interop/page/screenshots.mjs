// Photographs the page of a server in the moments of a call, by Chromium: scripts/screenshots.py says where to.
//
//     node screenshots.mjs EXECUTABLE PARAMETERS_AS_JSON
//
// Owns the moments. Must not know what is done with the pictures.

import { launch } from "../browsers/launching.mjs";
import { say } from "./sound.mjs";

const [executablePath, parameters] = process.argv.slice(2);
const { url, folder, first, story, question } = JSON.parse(parameters);

const DESK = { width: 1200, height: 760, deviceScaleFactor: 1 };
const PHONE = { width: 390, height: 844, deviceScaleFactor: 1.5 };
const PATIENCE_MS = 60_000;
/** What a busy machine has misheard is said again after that. */
const HEARD_MS = 15_000;

const browser = await launch("chromium", executablePath, {
    args: ["--use-fake-ui-for-media-stream"],
    options: { acceptInsecureCerts: true, ignoreDefaultArgs: ["--mute-audio"] },
});
const page = await browser.newPage();
const until = (holds, ...given) => page.waitForFunction(holds, { timeout: PATIENCE_MS, polling: 50 }, ...given);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function picture(name, scheme, viewport = DESK) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setViewport(viewport);
    // The picture is painted anew a moment after it has another size, and colours take theirs.
    await pause(250);
    await page.evaluate(() =>
        Promise.all(document.getAnimations().filter((one) => one instanceof CSSTransition).map(({ finished }) => finished.catch(() => {}))),
    );
    await page.screenshot({ path: `${folder}/page-${name}-${scheme}.png` });
}

async function ask(file, answered) {
    for (let attempt = 0; attempt < 3; attempt += 1) {
        await say(file);
        const seen = await page.waitForFunction(answered, { timeout: HEARD_MS, polling: 50 }).catch(() => null);
        if (seen) return;
    }
    throw new Error(`${file} was not answered`);
}

try {
    await page.evaluateOnNewDocument(() => localStorage.setItem("legato.settings", JSON.stringify({ echo: false })));
    await page.setViewport(DESK);
    await page.goto(url);
    await page.evaluate(() => document.fonts.ready);
    await picture("idle", "dark");
    await picture("idle", "light");

    await page.click("#talk");
    await until(() => document.querySelector("#status-text").textContent === "Listening");
    await ask(first, () => document.querySelector('.agent[data-state="done"]'));
    await ask(story, () => [...document.querySelectorAll(".agent .heard")].at(-1)?.textContent.length > 45);
    await picture("talking", "light");
    await picture("talking", "dark");
    await picture("phone", "light", PHONE);
    await picture("phone", "dark", PHONE);
    await page.setViewport(DESK);

    await page.click("#hold");
    await until(() => ["uncertain", "reconnecting"].includes(document.documentElement.dataset.state));
    await pause(1_200);
    await picture("reconnecting", "light");
    await picture("reconnecting", "dark");
    await page.click("#hold");
    await until(() => document.documentElement.dataset.state === "live");

    const spoken = say(question);
    await until(() => document.querySelector('.agent[data-state="interrupted"]'));
    await pause(600);
    await picture("interrupted", "dark");
    await picture("interrupted", "light");
    await spoken;
} finally {
    await browser.close();
}
