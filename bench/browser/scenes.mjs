// What is measured inside a browser, scene by scene. Each returns numbers; what they may be is measure.py's business.

import { connect } from "/dist/index.js";

// Asked how late a loudspeaker is, Firefox waits for PulseAudio, now and then for good.
if (/\bGecko\/\d/.test(navigator.userAgent)) {
    Object.defineProperty(AudioContext.prototype, "outputLatency", { get: () => 0 });
}

const PCM = { codec: "pcm16", rate: 16_000 };
const PIECE = 320;
const PATIENCE_MS = 40_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const act = (deed) => fetch(`/do/${deed}`, { method: "POST" });

function within(promise, what) {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE_MS));
    return Promise.race([promise, late]);
}

const told = (call, name, holds = () => true) =>
    within(new Promise((resolve) => call.on(name, (event) => holds(event) && resolve(event))), name);

const samples = async (url) => new Int16Array((await (await fetch(url)).arrayBuffer()).slice(44));
const digest = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** A call whose assistant tells a story of half a minute; no microphone. */
async function story({ assistant, options }) {
    const call = connect(assistant, { ...options, input: PCM, output: { codec: "opus" } });
    const pcm = await samples("/story.wav");
    const began = told(call, "playback", ({ heardMs }) => heardMs > 200);
    call.sendAudio(pcm);
    call.sendAudio(new Int16Array(PCM.rate));
    await within(began, "story");
    return call;
}

/** A voice without a person: it hums while the mouth is open. */
function mouthOf(call) {
    const context = new AudioContext();
    const voice = context.createOscillator();
    const lips = context.createGain();
    const room = context.createMediaStreamDestination();
    voice.connect(lips).connect(room);
    voice.start();
    lips.gain.value = 0;
    call.sendStream(room.stream);
    return { context, open: () => (lips.gain.value = 1), close: () => (lips.gain.value = 0) };
}

/** What `look` finds, as soon as it finds something. */
async function until(look, what) {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
        const found = look();
        if (found) return found;
        if (performance.now() > deadline) throw new Error(`no ${what} in time`);
        await pause(5);
    }
}

/** How many of the samples heard are those of the file, in its order: a slip of the device costs what it skips. */
function kept(heard, played) {
    const KEY = 32;
    let [at, exact, slips] = [-1, 0, 0];
    for (let index = 0; index < heard.length; index += 1) {
        if (at < 0 || heard[index] !== played[at]) {
            const key = heard.slice(index, index + KEY);
            const next = played.findIndex((sample, place) => sample === key[0] && key.every((one, more) => one === played[place + more]));
            slips += at >= 0 && next >= 0 ? 1 : 0;
            if (next >= 0) at = next;
            else if (at >= 0) at += 1;
            if (next < 0) continue;
        }
        exact += 1;
        at += 1;
    }
    return { exact: exact / heard.length, compared: heard.length, slips };
}

const SCENES = {
    /** Connecting over a path with delay: the transport, and the whole call. */
    async ready({ slow, certificateHash, options }) {
        const transport = [];
        const welcome = [];
        const serverCertificateHashes = [{ algorithm: "sha-256", value: digest(certificateHash) }];
        for (let round = 0; round < 9; round += 1) {
            let began = performance.now();
            const session = new WebTransport(slow, { serverCertificateHashes });
            await within(session.ready, "session");
            transport.push(performance.now() - began);
            session.close();
            began = performance.now();
            const call = connect(slow, { ...options, input: PCM });
            await within(call.ready, "welcome");
            welcome.push(performance.now() - began);
            await call.close();
        }
        // The first of each starts what the others find running.
        return { transport: transport.slice(1), welcome: welcome.slice(1) };
    },

    /** The page is busy for a second while somebody speaks and a reply plays. */
    async stall(given) {
        const speaking = connect(given.echoed, { ...given.options, input: PCM, output: PCM, speaker: false });
        await speaking.ready;
        const mouth = mouthOf(speaking);
        mouth.open();
        const listening = await story(given);
        await pause(1_500);
        const before = listening.playback.underruns;
        const from = Date.now();
        const until = performance.now() + 1_000;
        while (performance.now() < until);
        const to = Date.now();
        await pause(500);
        const underruns = listening.playback.underruns - before;
        await Promise.all([speaking.close(), listening.close(), mouth.context.close()]);
        return { from, to, underruns };
    },

    /**
     * To the first silent sample, as it leaves the audio graph: from the detector's word, when somebody seems to speak into
     * a reply, and from a command of the page.
     */
    async flush(given) {
        const call = await story({ ...given, options: { ...given.options, bargeIn: "local" } });
        const mouth = mouthOf(call);
        const { context } = call.output;
        await context.audioWorklet.addModule("/tap.js");
        const tap = new AudioWorkletNode(context, "tap");
        call.output.connect(tap).connect(context.destination);
        const passing = [];
        tap.port.onmessage = ({ data }) => passing.push(data);
        const heard = [];
        call.on("ducked", ({ at }) => heard.push(at));

        const sounds = () => until(() => passing.at(-1)?.silent === false, "sound");
        /** Notes how long after `at` it fell silent, unless a pause of the story was there first. */
        const note = async (delays, at) => {
            if (passing.findLast((one) => one.at < at)?.silent) return;
            const silent = await until(() => passing.find((one) => one.silent && one.at >= at), "silence");
            delays.push(silent.at - at);
        };
        const delays = [];
        const commanded = [];
        for (let round = 0; round < 20 && delays.length < 10; round += 1) {
            await sounds();
            const before = heard.length;
            mouth.open();
            await note(delays, await until(() => heard[before], "detection"));
            mouth.close();
            // The server hears no speech in a hum, and lets the reply go on.
            await pause(600);
        }
        for (let round = 0; round < 20 && commanded.length < 10; round += 1) {
            await sounds();
            call.duck();
            await note(commanded, Date.now());
            await pause(50);
            call.duck(false);
            await pause(50);
        }
        await Promise.all([call.close(), mouth.context.close()]);
        return { delays, commanded };
    },

    /** Five seconds in which no packet gets through, in the middle of what is said. */
    async blackout({ dropped, options }) {
        const call = connect(dropped, { ...options, input: PCM, output: PCM });
        const received = [];
        call.on("audio", ({ pcm }) => received.push(...pcm));
        const resumed = [];
        let ending = null;
        call.on("ended", (end) => (ending = end));
        call.on("resumed", ({ continued, silentMs }) => resumed.push({ continued, silentMs }));
        await within(call.ready, "welcome");
        const total = PCM.rate * 10;
        const spoken = Int16Array.from({ length: total }, (_, index) => ((index * 7_919) % 65_536) - 32_768);
        const began = performance.now();
        let sent = 0;
        let dropping = 0;
        while (sent < total) {
            const due = Math.min(total, Math.floor(((performance.now() - began) / 1_000) * PCM.rate));
            if (ending) throw new Error(`the call ended after ${Math.round(performance.now() - began)} ms: ${JSON.stringify(ending)}`);
            for (; sent + PIECE <= due; sent += PIECE) call.sendAudio(spoken.slice(sent, sent + PIECE));
            if (dropping === 0 && performance.now() - began > 2_000) dropping = (await act("drop"), performance.now());
            if (dropping > 0 && performance.now() - dropping > 5_000) dropping = (await act("pass"), -1);
            await pause(10);
        }
        if (dropping > 0) await act("pass");
        call.endUtterance();
        for (let waited = 0; received.length < total && waited < PATIENCE_MS; waited += 100) await pause(100);
        await call.close();
        const wrong = received.findIndex((sample, index) => sample !== spoken[index]);
        return { lostBytes: 2 * (total - (wrong < 0 ? received.length : wrong)), resumed };
    },

    /** UDP goes nowhere, each time on a network of which the page knows nothing yet. */
    async websocket({ silent, assistant, options: { certificateHashes } }) {
        const readyMs = [];
        for (const host of silent) {
            const began = performance.now();
            const call = connect(host, { certificateHashes, websocketUrl: assistant, discover: false });
            await within(call.ready, "welcome");
            readyMs.push(performance.now() - began);
            await call.close();
        }
        return { readyMs };
    },

    /** What the capture worklet hands on, beside the file that the microphone plays. */
    async fidelity() {
        const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
        const stream = await navigator.mediaDevices.getUserMedia({ audio: off });
        const context = new AudioContext({ sampleRate: 44_100 });
        await context.audioWorklet.addModule("/dist/capture-worklet.js");
        const node = new AudioWorkletNode(context, "legato-capture", { channelCount: 1, channelCountMode: "explicit" });
        const { port1, port2 } = new MessageChannel();
        const heard = [];
        port1.onmessage = ({ data }) => data.pcm && heard.push(...data.pcm);
        node.port.postMessage({ kind: "network", port: port2 }, [port2]);
        context.createMediaStreamSource(stream).connect(node).connect(context.destination);
        await pause(9_000);
        stream.getTracks().forEach((track) => track.stop());
        await context.close();
        const played = await samples("/noise.wav");
        return kept(heard.slice(44_100), played);
    },

    /** What is left of a reply in a microphone that hears the loudspeaker. */
    async echo(given) {
        const call = await story(given);
        const level = async (echoCancellation, learningMs) => {
            const audio = { echoCancellation, noiseSuppression: false, autoGainControl: false };
            const stream = await within(navigator.mediaDevices.getUserMedia({ audio }), "microphone");
            const context = new AudioContext();
            const analyser = context.createAnalyser();
            analyser.fftSize = 2_048;
            context.createMediaStreamSource(stream).connect(analyser);
            // The canceller learns the room first; Firefox's gains another 10 dB between 4 and 8 seconds.
            await pause(learningMs);
            const block = new Float32Array(analyser.fftSize);
            const levels = [];
            for (const until = performance.now() + 5_000; performance.now() < until; await pause(40)) {
                analyser.getFloatTimeDomainData(block);
                const power = block.reduce((sum, sample) => sum + sample * sample, 0) / block.length;
                levels.push(10 * Math.log10(Math.max(power, 1e-12)));
            }
            stream.getTracks().forEach((track) => track.stop());
            await context.close();
            levels.sort((one, other) => one - other);
            return { median: levels[levels.length >> 1], p90: levels[Math.floor(levels.length * 0.9)] };
        };
        const cancelled = await level(true, 8_000);
        const plain = await level(false, 1_000);
        const { playback } = call;
        await call.close();
        return { cancelled, plain, playing: playback.state };
    },
};

window.measure = (scene, given) => {
    window.measured = new Promise((resolve) => {
        const start = () =>
            SCENES[scene](given).then(resolve, (error) => resolve({ failed: `${error.name}: ${error.message}` }));
        document.querySelector("button").addEventListener("click", start, { once: true });
    });
};
