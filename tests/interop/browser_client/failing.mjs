// Calls in browsers that lack something, or lose it in the middle, all at once; and what the page saw of each. Must not
// know in which browser it is, nor anything of the package but its public door.

import { connect } from "/dist/index.js";
import { CALL_TIMEOUT_MS, PCM, failure, heard, samplesOf, within } from "./calling.mjs";

/** The threads' code for a browser whose workers lack these globals. */
function threadsWithout(...names) {
    const missing = names.map((name) => `delete globalThis.${name};`).join("");
    const code = `${missing} importScripts("${location.origin}/dist/network-worker.js");`;
    const worker = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    return { worker, capture: "/dist/capture-worklet.js", playback: "/dist/playback-worklet.js" };
}

/** What `connect` says while the page lacks a property. */
function withoutProperty(owner, name, given) {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    Object.defineProperty(owner, name, { value: undefined, configurable: true });
    try {
        return { connected: Boolean(connect(...given)) };
    } catch (error) {
        return failure(error);
    } finally {
        Object.defineProperty(owner, name, before);
    }
}

/** Who wants to know what becomes of a track, by track and event. */
const listeners = new WeakMap();

/** Pages cannot have a device pulled out, and Firefox takes no event for a track: so its listeners are told by hand. */
const listen = MediaStreamTrack.prototype.addEventListener;
MediaStreamTrack.prototype.addEventListener = function (name, listener, ...rest) {
    listeners.set(this, { ...listeners.get(this), [name]: listener });
    listen.call(this, name, listener, ...rest);
};
const happens = (track, name) => listeners.get(track)[name](new Event(name));

const CALLS = {
    async noWebTransport({ url, options }) {
        const call = connect(url, { ...options, transport: "auto", threads: threadsWithout("WebTransport") });
        await call.ready;
        const { transport, webtransportLost } = call.statistics();
        const statistics = await heard(call, "statistics");
        await call.close();
        return { transport: statistics.transport ?? transport, webtransportLost };
    },

    async noWebCodecs({ url, options, pcm }) {
        const call = connect(url, { ...options, threads: threadsWithout("AudioEncoder", "AudioDecoder") });
        const played = heard(call, "playback", ({ heardMs }) => heardMs > 300);
        call.sendAudio(pcm);
        await played;
        const { inputCodec, outputCodec } = await heard(call, "statistics");
        await call.close();
        return { inputCodec, outputCodec };
    },

    async noAudioWorklet({ url, options }) {
        return withoutProperty(BaseAudioContext.prototype, "audioWorklet", [url, options]);
    },

    async noWebAudio({ url, options }) {
        return withoutProperty(window, "AudioContext", [url, options]);
    },

    async noWorkers({ url, options }) {
        return withoutProperty(window, "Worker", [url, options]);
    },

    /** The hash that a page has is not the server's any more. */
    async changedCertificate({ url, options }) {
        const call = connect(url, { ...options, certificateHashes: ["00".repeat(32)], discover: true });
        return call.ready.catch(failure);
    },

    /** The hash is the server's, and the time of its certificate is over. */
    async expiredCertificate({ expired, options }) {
        const call = connect(expired.url, { ...options, certificateHashes: [expired.certificateHash] });
        return call.ready.then(() => ({ code: "ready" }), failure);
    },

    /** The microphone is pulled out, and another one plugged in. */
    async unplugged({ url, options }) {
        const call = connect(url, { ...options, input: PCM, output: PCM });
        const [track] = (await call.microphone({ echoCancellation: false })).getAudioTracks();
        await call.ready;
        await heard(call, "playback", ({ heardMs }) => heardMs > 100);
        const muted = heard(call, "microphone");
        happens(track, "mute");
        const unmuted = heard(call, "microphone", ({ active }) => active);
        happens(track, "unmute");
        const mutes = [await muted, await unmuted].map(({ active, muted }) => ({ active, muted }));
        const [lost, told] = [heard(call, "error"), heard(call, "microphone")];
        happens(track, "ended");
        const seen = { mutes, error: failure(await lost), microphone: await told, state: call.state };
        const { capturedMs } = await heard(call, "statistics");
        await call.microphone({ echoCancellation: false });
        await heard(call, "statistics", (now) => now.capturedMs > capturedMs + 300);
        await call.close();
        return seen;
    },

    /** The system takes the sound away, as iOS does for a phone call, and gives it back at a touch. */
    async interrupted({ url, options, pcm }) {
        const call = connect(url, { ...options, input: PCM, output: PCM });
        call.sendAudio(pcm);
        await heard(call, "playback", ({ heardMs }) => heardMs > 200);
        const blocked = heard(call, "blocked");
        await call.output.context.suspend();
        const seen = { blocked: (await blocked).blocked, heldMs: call.playback.heardMs };
        const freed = heard(call, "blocked");
        const played = heard(call, "playback", ({ heardMs }) => heardMs >= 1000);
        dispatchEvent(new Event("pointerdown"));
        seen.freed = !(await freed).blocked;
        seen.heardMs = (await played).heardMs;
        await call.close();
        return seen;
    },
};

/** Makes all calls; gives what each saw, or the error that ended it. */
export async function playAll({ token, certificateHash, audio, ...given }) {
    const options = { token, certificateHashes: [certificateHash], transport: "webtransport", client: "failing" };
    const made = Object.entries(CALLS).map(async ([name, call]) => {
        const saw = call({ ...given, options, pcm: samplesOf(audio) });
        const fail = ({ name: kind, message }) => ({ failed: `${kind}: ${message}` });
        return [name, await within(saw, 2 * CALL_TIMEOUT_MS, "end").catch(fail)];
    });
    return Object.fromEntries(await Promise.all(made));
}
