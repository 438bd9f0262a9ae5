// Waits for its button, then makes all calls: a browser lets a page sound only when somebody has clicked.

import { playAll } from "./calls.mjs";

window.play = (given) => {
    window.played = new Promise((resolve, reject) => {
        const start = () => playAll(given, location.search === "?strict").then(resolve, reject);
        document.querySelector("button").addEventListener("click", start, { once: true });
    });
};
