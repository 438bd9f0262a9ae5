// Talks through the page of a server, in a browser of this machine, and prints what came of it as one line of JSON.
//
//     node converse.mjs chromium|firefox EXECUTABLE PARAMETERS_AS_JSON
//
// Owns the order of what is done. What is expected of it is the caller's business.

import { readFile } from "node:fs/promises";

import { launch } from "../browsers/launching.mjs";
import { Loudspeaker, say } from "./sound.mjs";

const [browserName, executablePath, parameters] = process.argv.slice(2);
const { url, withoutUdp, key, story, question, axe } = JSON.parse(parameters);

const PATIENCE_MS = 60_000;
/** How often something is said again that a busy machine has swallowed or misheard. */
const ATTEMPTS = 3;
const HEARD_MS = 30_000;
/** The driver would have Chromium play nothing. */
const audible = browserName === "chromium" ? { ignoreDefaultArgs: ["--mute-audio"] } : {};

const browser = await launch(browserName, executablePath, {
    // Sound comes from the microphone of the room, and nobody is there to be asked whether it may.
    args: browserName === "chromium" ? ["--use-fake-ui-for-media-stream"] : [],
    preferences: { "media.navigator.permission.disabled": true, "media.navigator.streams.fake": false },
    options: { acceptInsecureCerts: true, protocolTimeout: 60_000, ...audible },
});
const loudspeaker = new Loudspeaker();
const seen = { problems: [] };

/** A page of its own, its mistakes noted. */
async function open(address) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => seen.problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
    await page.evaluateOnNewDocument(() => {
        // Nothing of this room's loudspeaker reaches its microphone, so nothing is to be removed: the recogniser gets what was said.
        if (location.protocol === "https:") localStorage.setItem("legato.settings", JSON.stringify({ echo: false }));
        // When the button was clicked, and when a call was there.
        addEventListener("click", () => (window.clickedAt ??= performance.now()), { capture: true });
        const look = () => document.documentElement?.dataset.state === "live" && (window.liveAt ??= performance.now());
        new MutationObserver(look).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-state"] });
    });
    await page.goto(address);
    return page;
}

const until = (page, holds, ...given) => page.waitForFunction(holds, { timeout: PATIENCE_MS, polling: 50 }, ...given);
const state = (page, wanted) => until(page, (wanted) => wanted.includes(document.documentElement.dataset.state), wanted);
const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());
const turns = (page) =>
    page.$$eval(".turn", (items) =>
        items.map((item) => ({
            who: item.classList.contains("agent") ? "agent" : "person",
            state: item.dataset.state,
            heard: item.querySelector(".heard").textContent,
            unheard: item.querySelector(".unheard")?.textContent ?? "",
        })),
    );

/** What a screen reader or a keyboard would stumble over. */
async function accessibility(page) {
    await page.evaluate(await readFile(axe, "utf-8"));
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Say it until the page shows that it was understood; returns when it had been said. */
async function ask(page, file, understood, ...given) {
    for (let attempt = 1; ; attempt += 1) {
        await say(file);
        const saidAt = performance.now();
        try {
            const timeout = attempt < ATTEMPTS ? HEARD_MS : PATIENCE_MS;
            await page.waitForFunction(understood, { timeout, polling: 50 }, ...given);
            return saidAt;
        } catch (error) {
            if (attempt === ATTEMPTS) throw error;
        }
    }
}

/** A long answer, interrupted by another question. */
async function converse() {
    const page = await open(url);
    seen.idle = { status: await text(page, "#status-text"), silence: loudspeaker.loudest(200) };
    if (axe) seen.idle.violations = await accessibility(page);
    await page.click("#talk");
    await state(page, ["live"]);
    await until(page, () => document.querySelector("#status-text").textContent === "Listening");
    await ask(page, story, () => [...document.querySelectorAll(".agent")].at(-1)?.textContent.includes("Once upon"));
    await loudspeaker.heard(true, 1_000, PATIENCE_MS);
    seen.answering = { turns: await turns(page), loudness: loudspeaker.loudest(500), status: await text(page, "#status-text") };
    // A story that was asked for twice has been interrupted once already.
    const before = (await page.$$('.agent[data-state="interrupted"]')).length;
    const interrupted = (before) => document.querySelectorAll('.agent[data-state="interrupted"]').length > before;
    const silent = until(page, interrupted, before).then(() => loudspeaker.heard(false, 300, PATIENCE_MS));
    const saidAt = await ask(page, question, interrupted, before);
    seen.interrupted = { silentMs: Math.round((await silent) - saidAt) };
    await until(page, () => {
        const states = [...document.querySelectorAll(".agent")].map((turn) => turn.dataset.state);
        return states.lastIndexOf("done") > states.lastIndexOf("interrupted");
    });
    seen.end = {
        turns: await turns(page),
        transport: await text(page, "#fact-transport"),
        rtt: await text(page, "#fact-rtt"),
        label: await page.$eval("#timeline", (canvas) => canvas.getAttribute("aria-label")),
    };
    if (axe) seen.end.violations = await accessibility(page);
    return page;
}

/** The network is held for a while. */
async function hold(page) {
    await page.click("#hold");
    await state(page, ["uncertain", "reconnecting"]);
    seen.held = { notice: await text(page, "#notice-title"), status: await text(page, "#status-text") };
    await page.click("#hold");
    await state(page, ["live"]);
    seen.resumed = { turns: (await turns(page)).length, notice: await page.$eval("#notice", (notice) => notice.hidden) };
    // Whatever the first connection that got through was.
    await until(page, () => document.querySelector("#fact-transport").textContent === "WebTransport");
    seen.returned = await page.$eval("#why", (why) => why.hidden);
}

/** Hung up, with a button and with nothing left behind. */
async function hangUp(page) {
    await page.keyboard.press("m");
    seen.muted = await page.$eval("#mute", (button) => button.getAttribute("aria-pressed"));
    await page.click("#talk");
    await state(page, ["idle"]);
    seen.over = { label: await text(page, "#talk-label"), status: await text(page, "#status-text") };
    await page.close();
}

/** Where UDP goes nowhere. */
async function callWithoutUdp() {
    const page = await open(withoutUdp);
    await page.click("#talk");
    await state(page, ["live"]);
    await until(page, () => document.querySelector("#fact-transport").textContent !== "–");
    seen.withoutUdp = {
        transport: await text(page, "#fact-transport"),
        why: await text(page, "#why"),
        readyMs: Math.round(await page.evaluate(() => window.liveAt - window.clickedAt)),
    };
    await page.close();
}

/** A key that nobody knows, then the right one. */
async function enterKey() {
    const page = await open(url);
    await page.evaluate(() => sessionStorage.setItem("legato.key", "sk-wrong"));
    await page.click("#talk");
    await until(page, () => !document.querySelector("#notice-action").hidden);
    seen.wrongKey = { notice: await text(page, "#notice-title"), action: await text(page, "#notice-action") };
    await state(page, ["idle"]);
    await page.click("#notice-action");
    await page.type("#key", key);
    await page.keyboard.press("Enter");
    await state(page, ["live"]);
    seen.rightKey = { notice: await page.$eval("#notice", (notice) => notice.hidden) };
    await page.close();
}

/** Nobody allows the microphone, so what would have been said is typed. */
async function typeInstead() {
    const page = await open(url);
    await page.evaluate(() => {
        // Stands in for a person who says no: browsers without a window ask nobody.
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
    });
    await page.click("#talk");
    await until(page, () => !document.querySelector("#typing").hidden);
    seen.denied = { notice: await text(page, "#notice-title"), help: await text(page, "#notice-help") };
    await state(page, ["live"]);
    await page.type("#typed", "what is seven plus five");
    await page.keyboard.press("Enter");
    await until(page, () => document.querySelector('.agent[data-state="done"]'));
    seen.typed = await turns(page);
    await page.close();
}

try {
    const page = await converse();
    await hold(page);
    await hangUp(page);
    await callWithoutUdp();
    if (axe) {
        await enterKey();
        await typeInstead();
    }
} catch (error) {
    const pages = await browser.pages();
    const shown = await Promise.all(pages.map((page) => page.evaluate(() => document.body?.innerText).catch(String)));
    seen.failed = `${error.stack}\nshown:\n${shown.join("\n")}`;
} finally {
    loudspeaker.close();
    process.stdout.write(JSON.stringify(seen) + "\n");
    await browser.close();
}
