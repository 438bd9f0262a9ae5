// What may go wrong around a call of the page, for real where a browser lets it be done; prints what the page showed of
// each as one line of JSON. Asks for a kill of the server by another line: {"kill": true}.
//
//     node troubles.mjs chromium|firefox EXECUTABLE PARAMETERS_AS_JSON
//
// Owns how each trouble is made. What the page should say is the caller's business.

import { execFileSync } from "node:child_process";

import { launch } from "../browsers/launching.mjs";

const [browserName, executablePath, parameters] = process.argv.slice(2);
const { url, proxy } = JSON.parse(parameters);

const PATIENCE_MS = 60_000;
const AWAY_MS = 1_000;
const ALLOWED = "--use-fake-ui-for-media-stream";

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const until = (page, holds, ...given) => page.waitForFunction(holds, { timeout: PATIENCE_MS, polling: 50 }, ...given);
const state = (page, wanted) => until(page, (wanted) => document.documentElement.dataset.state === wanted, wanted);

/** What a person sees of it, once the notice says that; or null for nothing. */
async function shown(page, title) {
    const says = (title) => {
        const notice = document.querySelector("#notice");
        return title === null ? notice.hidden : !notice.hidden && document.querySelector("#notice-title").textContent === title;
    };
    await until(page, says, title);
    return page.evaluate(() => {
        const text = (id) => document.getElementById(id).textContent.trim();
        const seen = (id) => (document.getElementById(id).hidden ? null : text(id));
        return {
            state: document.documentElement.dataset.state,
            notice: seen("notice") && text("notice-title"),
            action: seen("notice") && seen("notice-action"),
            typing: !document.getElementById("typing").hidden,
            transport: text("fact-transport"),
            why: seen("why"),
        };
    });
}

/** A page on which somebody has clicked; `before` runs in it before anything of its own. */
async function called(browser, before = () => {}) {
    const page = await browser.newPage();
    await page.evaluateOnNewDocument(before);
    await page.goto(url);
    await page.click("#talk");
    return page;
}

async function live(browser, before) {
    const page = await called(browser, before);
    await state(page, "live");
    await until(page, () => document.querySelector("#fact-transport").textContent !== "–");
    return page;
}

const unplug = () => execFileSync("pactl", ["unload-module", "module-remap-source"]);
const MICROPHONE = ["module-remap-source", "source_name=microphone", "master=mouth.monitor"];
const plugIn = () => execFileSync("pactl", ["load-module", ...MICROPHONE]);

/**
 * What only one of them shows here: Firefox takes the loudspeaker for the microphone that is not there, and half a minute to
 * be sure that a server is gone.
 */
const ONLY = { noMicrophone: "chromium", serverGone: "chromium" };

/** With a microphone that nobody is asked about. */
const TROUBLES = {
    /** Another tab is looked at, and this one again. */
    async hidden(browser) {
        const page = await live(browser);
        const other = await browser.newPage();
        await other.bringToFront();
        const away = await page.evaluate(() => document.visibilityState);
        await pause(AWAY_MS);
        await page.bringToFront();
        await until(page, () => document.visibilityState === "visible");
        await state(page, "live");
        // A busy machine may have the WebSocket ready first; the call goes back.
        await until(page, () => document.querySelector("#fact-transport").textContent === "WebTransport");
        return { away, back: await shown(page, null) };
    },

    /** The system takes the sound away, as iOS does for a phone call, and gives it back at a touch. */
    async interrupted(browser) {
        const page = await live(browser, () => {
            const Native = AudioContext;
            window.contexts = [];
            window.AudioContext = class extends Native {
                constructor(...given) {
                    super(...given);
                    window.contexts.push(this);
                }
            };
        });
        await until(page, () => window.contexts.length === 2 && window.contexts.every((context) => context.state === "running"));
        await page.evaluate(() => Promise.all(window.contexts.map((context) => context.suspend())));
        const taken = await shown(page, "The browser holds the sound back");
        await page.mouse.click(5, 5);
        return { taken, given: await shown(page, null) };
    },

    /** A browser of another age. */
    async noAudioWorklet(browser) {
        const page = await called(browser, () => delete BaseAudioContext.prototype.audioWorklet);
        return shown(page, "This browser is too old for calls");
    },

    /** The microphone is pulled out in the middle of a call: said by hand, for a sound server may put another in its place. */
    async unplugged(browser) {
        const page = await live(browser, () => {
            const listen = MediaStreamTrack.prototype.addEventListener;
            MediaStreamTrack.prototype.addEventListener = function (name, listener, ...rest) {
                if (name === "ended") window.unplug = () => listener(new Event(name));
                listen.call(this, name, listener, ...rest);
            };
        });
        await until(page, () => window.unplug && ["Listening", "Answering"].includes(document.querySelector("#status-text").textContent));
        await page.evaluate(() => window.unplug());
        const lost = await shown(page, "The microphone is gone");
        await page.click("#notice-action");
        await until(page, () => document.querySelector("#typing").hidden);
        return { lost, found: await shown(page, null) };
    },

    /** There is none from the start. */
    async noMicrophone(browser) {
        unplug();
        const seen = await shown(await live(browser), "There is no microphone");
        plugIn();
        return seen;
    },

    /** The server is killed in the middle of a call. */
    async serverGone(browser) {
        const page = await live(browser);
        tell({ kill: true });
        await state(page, "reconnecting");
        const waiting = await shown(page, "Reconnecting");
        await state(page, "idle");
        const over = await shown(page, "The connection was lost");
        await page.click("#notice-action");
        return { waiting, over, again: await shown(page, "The server cannot be reached") };
    },
};

/**
 * A browser in which three things are wrong at once. The person has said no to microphones, once and for all. Chromium is
 * behind a proxy, which knows of TCP only; Firefox is as old as to have neither WebTransport nor WebCodecs.
 */
const HINDERED = {
    args: [`--proxy-server=127.0.0.1:${proxy}`, "--proxy-bypass-list=<-loopback>"],
    preferences: {
        ...{ "permissions.default.microphone": 2, "media.navigator.permission.disabled": false },
        ...{ "network.webtransport.enabled": false, "dom.media.webcodecs.enabled": false },
    },
};

async function inBrowser({ args = [ALLOWED], preferences = {} }, visit) {
    const browser = await launch(browserName, executablePath, {
        args,
        preferences: { "media.navigator.permission.disabled": true, "media.navigator.streams.fake": false, ...preferences },
        options: { acceptInsecureCerts: true, protocolTimeout: 60_000 },
    });
    try {
        await visit(browser);
    } finally {
        await browser.close();
    }
}

const seen = {};

async function note(name, trouble, browser) {
    seen[name] = await trouble(browser).catch((error) => ({ failed: error.stack }));
}

await inBrowser(HINDERED, async (browser) => {
    if (browserName === "chromium") await browser.defaultBrowserContext().overridePermissions(new URL(url).origin, []);
    await note("hindered", async () => shown(await live(browser), "The microphone is not allowed"), browser);
});
await inBrowser({}, async (browser) => {
    for (const [name, trouble] of Object.entries(TROUBLES)) {
        if (ONLY[name] && ONLY[name] !== browserName) continue;
        await note(name, trouble, browser);
        for (const page of (await browser.pages()).slice(1)) await page.close();
    }
});
tell(seen);
