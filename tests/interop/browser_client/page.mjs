// Waits for its button, then makes all calls of a module: a browser lets a page sound only when somebody has clicked.

const wanted = new URLSearchParams(location.search);

window.play = async (given) => {
    const { playAll } = await import(`./${wanted.get("module")}.mjs`);
    window.played = new Promise((resolve, reject) => {
        const start = () => playAll(given, wanted.has("strict")).then(resolve, reject);
        document.querySelector("button").addEventListener("click", start, { once: true });
    });
};
