// Calls whose network fails in the middle, all at once, each over a path of its own, and what the page saw of each. Must
// not know in which browser it is, nor anything of the package but its public door.

import { connect } from "/dist/index.js";
import { PCM, PIECE, heard, within } from "./calling.mjs";

const PATIENCE_MS = 45_000;
const PIECE_MS = 20;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Has something done to the network of a call. */
const happen = (deed) => fetch(`/do/${deed}`, { method: "POST" });

/** No two samples of four seconds alike. */
const speech = (seconds) => Int16Array.from({ length: seconds * PCM.rate }, (_, index) => index * 7_919);

/** Where what is said differs from the replies to a call, -1 if nowhere; known when as much has come. */
function differing(call, pcm) {
    let [at, found] = [0, -1];
    const all = new Promise((resolve) => {
        call.on("audio", ({ pcm: piece }) => {
            const wrong = piece.findIndex((sample, index) => sample !== pcm[at + index]);
            if (found < 0 && wrong >= 0) found = at + wrong;
            at += piece.length;
            if (at >= pcm.length) resolve(found);
        });
    });
    return within(all, PATIENCE_MS, "audio");
}

/** Speaks samples in real time; the echo says them back. Resolves when it has. */
async function speak(call, pcm) {
    const begun = performance.now();
    for (let at = 0; at < pcm.length; at += PIECE) {
        const ahead = begun + (at / PIECE) * PIECE_MS - performance.now();
        if (ahead > 0) await pause(ahead);
        call.sendAudio(pcm.slice(at, at + PIECE));
    }
    call.endUtterance();
}

/** Waits until a call has WebTransport, which may have lost its first race where there is much to do; what came of that is
 * no outage. */
async function onWebTransport(session, seen) {
    await heard(session, "statistics", ({ transport }) => transport === "webtransport", PATIENCE_MS);
    seen.resumed.length = 0;
}

/** Does something to the network of a call, and waits until this transport goes on with it. */
async function goesOn(session, deed, name) {
    const resumed = heard(session, "resumed", ({ transport }) => transport === name, PATIENCE_MS);
    await happen(deed);
    await resumed;
}

/** One call that speaks while `outage` goes on. */
async function call({ url, options, pcm, seen }, name, more, outage) {
    const session = connect(url, { ...options, ...more, input: PCM, output: PCM, client: name });
    session.on("statistics", (statistics) => Object.assign(seen, { statistics }));
    session.on("state", ({ state }) => seen.states.push(state));
    session.on("resumed", (how) => seen.resumed.push(how));
    session.on("error", ({ code, message }) => seen.errors.push({ code, message }));
    let changed = 0;
    session.on("event", ({ type }) => (changed += type === "session.updated" ? 1 : 0));
    const wholeMs = (pcm.length / PCM.rate) * 1000;
    const difference = differing(session, pcm);
    const finished = heard(session, "playback", ({ heardMs }) => heardMs >= wholeMs, PATIENCE_MS);
    const spoken = speak(session, pcm);
    await session.ready;
    await heard(session, "playback", ({ heardMs }) => heardMs >= 500, PATIENCE_MS);
    await outage(session);
    await spoken;
    seen.differsAt = await difference;
    const { heardMs } = await finished;
    await heard(session, "statistics", ({ ackedMs }) => ackedMs >= wholeMs, PATIENCE_MS);
    await session.close();
    Object.assign(seen, { heardMs, wholeMs, changed });
}

const CALLS = {
    /** Nothing passes for five seconds, then all of it does. */
    blackout: (given) =>
        call(given, "blackout", { transport: "webtransport" }, async (session) => {
            await happen("blackout/silence");
            session.send({ type: "session.update", session: { type: "realtime" } });
            await pause(5_000);
            await happen("blackout/restore");
        }),

    /** The connection dies without a word. */
    killed: (given) => call(given, "killed", { transport: "webtransport" }, () => happen("killed/kill")),

    /** The WebSocket is cut. */
    cut: (given) => call(given, "cut", { transport: "websocket" }, () => happen("cut/kill")),

    /** UDP passes no more: the WebSocket goes on with the call. */
    blocked: (given) =>
        call(given, "blocked", { transport: "auto" }, async (session) => {
            await onWebTransport(session, given.seen);
            await goesOn(session, "blocked/block_udp", "websocket");
        }),

    /** The same, but only for a while: the call goes back to WebTransport. */
    returning: (given) =>
        call(given, "returning", { transport: "auto" }, async (session) => {
            await onWebTransport(session, given.seen);
            await goesOn(session, "returning/block_udp", "websocket");
            await goesOn(session, "returning/free_udp", "webtransport");
        }),

    /** The server is killed, and another one stands behind its address. What it repeats is its own: only what it hears counts. */
    async failover({ url, options, pcm, seen }) {
        const session = connect(url, { ...options, transport: "webtransport", input: PCM, output: PCM, client: "failover" });
        session.on("statistics", (statistics) => Object.assign(seen, { statistics }));
        session.on("resumed", (how) => seen.resumed.push(how));
        session.on("error", ({ code, message }) => seen.errors.push({ code, message }));
        const wholeMs = (pcm.length / PCM.rate) * 1000;
        const spoken = speak(session, pcm);
        const { generation } = await heard(session, "playback", ({ heardMs }) => heardMs >= 500, PATIENCE_MS);
        await happen("failover/fail_over");
        const answered = heard(session, "playback", (now) => now.generation > generation && now.heardMs > 200, PATIENCE_MS);
        await spoken;
        await heard(session, "statistics", ({ ackedMs }) => ackedMs >= wholeMs, PATIENCE_MS);
        await answered;
        seen.session = (await session.ready).session_id;
        await session.close();
    },
};

/** Makes all calls of the page at the same time; gives what each saw, or the error that ended it. */
export async function playAll({ urls, token, certificateHash, seconds }) {
    const options = { token, certificateHashes: [certificateHash], discover: false };
    const made = Object.entries(CALLS).map(async ([name, make]) => {
        const seen = { states: [], resumed: [], errors: [] };
        const given = { url: urls[name], options, pcm: speech(seconds), seen };
        await make(given).catch(({ message }) => (seen.failed = `${message}; ${JSON.stringify(seen)}`));
        return [name, seen];
    });
    return Object.fromEntries(await Promise.all(made));
}
