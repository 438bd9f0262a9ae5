// Calls that a page makes with the browser package, and what it saw of each. Must not know in which browser it is, nor
// anything of the package but its public door.

import { connect } from "/dist/index.js";
import { CALL_TIMEOUT_MS, PCM, PIECE, failure, heard, replied, samplesOf, within } from "./calling.mjs";

const loudest = (pcm) => pcm.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);

/** What the loudspeaker of this machine plays at. */
async function deviceRate() {
    const context = new AudioContext();
    await context.close();
    return context.sampleRate;
}

const CALLS = {
    /** Samples of the page's own making, there and back, and heard to the last one. */
    async echo({ url, options, pcm }) {
        const call = connect(url, { ...options, input: PCM, output: PCM, client: "echo" });
        const states = [];
        call.on("state", ({ state }) => states.push(state));
        const echoed = replied(call, pcm.length);
        for (let at = 0; at < pcm.length; at += PIECE) call.sendAudio(pcm.slice(at, at + PIECE));
        call.endUtterance();
        const welcome = await call.ready;
        const wholeMs = (pcm.length / PCM.rate) * 1000;
        const played = heard(call, "playback", ({ heardMs }) => heardMs >= wholeMs);
        const speaking = heard(call, "speaking");
        const audio = await echoed;
        const { heardMs } = await played;
        const speaker = await speaking;
        const statistics = await heard(call, "statistics", ({ rttMs, ackedMs }) => rttMs !== null && ackedMs >= wholeMs);
        await call.close();
        const ending = await call.closed;
        return { formats: [welcome.input, welcome.output], audio, heardMs, wholeMs, speaker, statistics, states, ending };
    },

    /** The same over one WebSocket. */
    async websocket({ url, options, pcm }) {
        const call = connect(url, { ...options, transport: "websocket", input: PCM, output: PCM, client: "websocket" });
        const echoed = replied(call, pcm.length);
        for (let at = 0; at < pcm.length; at += PIECE) call.sendAudio(pcm.slice(at, at + PIECE));
        call.endUtterance();
        const wholeMs = (pcm.length / PCM.rate) * 1000;
        const played = heard(call, "playback", ({ heardMs }) => heardMs >= wholeMs);
        const audio = await echoed;
        const { heardMs } = await played;
        const statistics = await heard(call, "statistics", ({ rttMs, ackedMs }) => rttMs !== null && ackedMs >= wholeMs);
        const interrupted = heard(call, "playback", ({ state }) => state === "stopped" || state === "done");
        call.interrupt();
        const { state } = await interrupted;
        await call.close();
        return { audio, heardMs, statistics, state, ending: await call.closed };
    },

    /** UDP goes nowhere, as behind many a firewall. */
    async withoutUdp({ url, blackhole, options }) {
        const started = performance.now();
        const call = connect(blackhole, { ...options, transport: "auto", websocketUrl: url, discover: false });
        await call.ready;
        const readyMs = performance.now() - started;
        const seen = { readyMs, statistics: await heard(call, "statistics") };
        await call.close();
        return seen;
    },

    /** A microphone and the defaults: Opus both ways; then silence at once. */
    async talk({ url, options }) {
        const call = connect(url, { ...options, client: "talk" });
        const stream = await call.microphone({ echoCancellation: false });
        const loud = heard(call, "audio", ({ pcm }) => loudest(pcm) > 1000);
        const welcome = await call.ready;
        await loud;
        const playing = await heard(call, "playback", ({ heardMs, state }) => heardMs > 300 && state === "playing");
        const stopped = heard(call, "playback", ({ state }) => state === "stopped");
        const interrupted = heard(call, "interrupted");
        call.interrupt();
        const seen = {
            formats: [welcome.input, welcome.output],
            rates: [call.output.context.sampleRate, await deviceRate()],
            track: stream.getAudioTracks()[0].readyState,
            playing,
            interrupted: await interrupted,
            stopped: await stopped,
            statistics: call.statistics(),
        };
        await call.close();
        return { ...seen, trackAfterwards: stream.getAudioTracks()[0].readyState };
    },

    /** Somebody coughs into a reply, by a stream of the page's own; nobody at the server minds. */
    async cough({ url, options, pcm }) {
        const call = connect(url, { ...options, bargeIn: "local", input: PCM, output: PCM, client: "cough" });
        const context = new AudioContext();
        const [voice, loudness] = [context.createOscillator(), context.createGain()];
        const room = context.createMediaStreamDestination();
        voice.connect(loudness).connect(room);
        loudness.gain.value = 0;
        voice.start();
        call.sendStream(room.stream);
        call.sendAudio(pcm);
        await heard(call, "playback", ({ heardMs }) => heardMs > 100);
        const paused = heard(call, "playback", ({ state }) => state === "paused");
        const began = performance.now();
        loudness.gain.value = 0.5;
        const held = await paused;
        const quietMs = performance.now() - began;
        const playing = heard(call, "playback", ({ state }) => state === "playing");
        loudness.gain.value = 0;
        const resumed = await playing;
        await call.close();
        await context.close();
        return { held, resumed, quietMs };
    },

    /** The page is busy for a second; what the microphone captures meanwhile arrives all the same. */
    async busy({ url, options }) {
        const call = connect(url, { ...options, input: PCM, output: PCM, client: "busy" });
        await call.microphone({ echoCancellation: false });
        await call.ready;
        await heard(call, "playback", ({ heardMs }) => heardMs > 100);
        const before = await heard(call, "statistics");
        const until = performance.now() + 1000;
        while (performance.now() < until);
        const after = await heard(call, "statistics", ({ ackedMs }) => ackedMs >= before.capturedMs + 700);
        await call.close();
        return { capturedMs: after.capturedMs - before.capturedMs };
    },

    /** Push to talk, muted meanwhile; and what is asked of a call that is over. */
    async commit({ url, options, pcm }) {
        const call = connect(url, { ...options, input: PCM, output: PCM, client: "commit" });
        const echoed = replied(call, pcm.length);
        call.sendAudio(pcm);
        call.commit();
        call.mute();
        await call.ready;
        const audio = await echoed;
        await call.close();
        return { audio, afterwards: await call.microphone().catch(failure) };
    },

    async unauthorized({ url, options }) {
        const call = connect(url, { ...options, token: async () => "sk-wrong" });
        const error = await call.ready.catch(failure);
        return { error, ending: await call.closed };
    },

    async noToken({ url, options }) {
        const token = () => Promise.reject(new Error("the token service is down"));
        const call = connect(url, { ...options, token });
        return call.ready.catch(failure);
    },

    async foreignCertificate({ url, options }) {
        const call = connect(url, { ...options, certificateHashes: ["00".repeat(32)], discover: false });
        return call.ready.catch(failure);
    },

    /** Nothing listens there, neither for UDP nor for TCP. */
    async nobody({ nowhere, options }) {
        const call = connect(nowhere, options);
        return call.ready.catch(failure);
    },

    async noMicrophone({ url, options }) {
        const call = connect(url, options);
        const error = await call.microphone({ deviceId: "no such device" }).catch(failure);
        const state = (await call.ready) && call.state;
        await call.close();
        return { error, state };
    },

    async mistakes({ url }) {
        const calls = [["http://localhost"], ["::"], [url, { input: { rate: 44_100 } }], [url, { certificateHashes: ["x"] }]];
        return calls.map(([target, options]) => {
            try {
                return connect(target, options);
            } catch (error) {
                return failure(error).code;
            }
        });
    },
};

/** Calls of a page whose policy forbids code that is made on the spot. */
const STRICT_CALLS = {
    async strictWithFiles({ url, options, pcm }) {
        const threads = {
            worker: "/dist/network-worker.js",
            capture: "/dist/capture-worklet.js",
            playback: "/dist/playback-worklet.js",
        };
        const call = connect(url, { ...options, threads, input: PCM, output: PCM, client: "strict" });
        const echoed = replied(call, pcm.length);
        const played = heard(call, "playback", ({ heardMs }) => heardMs > 100);
        call.sendAudio(pcm);
        const audio = await echoed;
        await played;
        await call.close();
        return { audio };
    },

    async strictWithout({ url, options }) {
        try {
            return await connect(url, options).ready.catch(failure);
        } catch (error) {
            return failure(error);
        }
    },
};

/** Makes all calls of a page, one after another; gives what each saw, or the error that ended it. */
export async function playAll({ token, certificateHash, audio, ...given }, strict) {
    const options = { token, certificateHashes: [certificateHash], transport: "webtransport" };
    const seen = {};
    for (const [name, call] of Object.entries(strict ? STRICT_CALLS : CALLS)) {
        // Shown with the driver's errors: where it stood still, if it did.
        console.log(name);
        try {
            seen[name] = await within(call({ ...given, options, pcm: samplesOf(audio) }), CALL_TIMEOUT_MS, "end");
        } catch (error) {
            seen[name] = { failed: `${error.name}: ${error.message}` };
        }
    }
    return seen;
}
