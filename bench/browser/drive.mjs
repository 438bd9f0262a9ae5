// Starts a browser of this machine and plays scenes of page.html in it; prints what they gave as one line of JSON.
//
//     node drive.mjs chromium|firefox EXECUTABLE PAGE_URL PARAMETERS_AS_JSON
//
// Owns the order. Must not know what is measured.

import { launch } from "../../tests/interop/browsers/launching.mjs";

const [browserName, executablePath, pageUrl, parameters] = process.argv.slice(2);
const { scenes, microphone, ...given } = JSON.parse(parameters);

const file = ["--use-fake-device-for-media-stream", `--use-file-for-fake-audio-capture=${microphone}%noloop`];
const browser = await launch(browserName, executablePath, {
    args: ["--use-fake-ui-for-media-stream", ...(microphone ? file : [])],
    preferences: { "media.navigator.permission.disabled": true, "media.navigator.streams.fake": false },
    options: {
        ...{ acceptInsecureCerts: true, protocolTimeout: 120_000 },
        // The driver would have Chromium play nothing.
        ...(browserName === "chromium" ? { ignoreDefaultArgs: ["--mute-audio"] } : {}),
    },
});
const seen = {};
try {
    for (const scene of scenes) {
        // A page of its own, so that no scene is another one's background.
        const page = await browser.newPage();
        page.on("console", (message) => console.error(`${scene}: ${message.text()}`));
        await page.goto(pageUrl);
        await page.evaluate((scene, given) => window.measure(scene, given), scene, given);
        await page.click("button");
        seen[scene] = await page.evaluate(() => window.measured);
        await page.close();
    }
} finally {
    process.stdout.write(JSON.stringify(seen) + "\n");
    await browser.close();
}
