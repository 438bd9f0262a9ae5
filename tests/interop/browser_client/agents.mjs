// Conversations of OpenAI's Agents SDK, as its package is, over calls of ours; and what the application saw of each. To
// be bundled. Must not judge.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import { connect } from "legato-voice";
import { LegatoRealtimeTransport } from "legato-voice/openai-agents";
import { asWebSocket } from "legato-voice/websocket";

import { heard, within } from "./calling.mjs";

const PATIENCE_MS = 25_000;
/** 200 ms at 24 kHz. */
const PIECE = 4_800;

/** What an application sees of a conversation. */
function watch(session, seen) {
    Object.assign(seen, { events: [], errors: [], audioMs: 0, interruptions: 0, history: [] });
    session.on("transport_event", (event) => {
        const { delta, ...rest } = event;
        seen.events.push(typeof delta === "string" && event.type === "response.output_audio.delta" ? rest : event);
    });
    session.on("error", (error) => seen.errors.push(String(error?.error?.message ?? JSON.stringify(error))));
    session.on("audio", ({ data }) => (seen.audioMs += data.byteLength / 48));
    session.on("audio_interrupted", () => (seen.interruptions += 1));
    session.on("history_updated", (history) => (seen.history = history));
}

/** Waits for an event of this type, of which so many have come. */
function came(session, seen, type, times = 1) {
    const enough = () => seen.events.filter((event) => event.type === type).length >= times;
    if (enough()) return Promise.resolve();
    return within(new Promise((resolve) => session.on("transport_event", () => enough() && resolve())), PATIENCE_MS, type);
}

function speak(session, pcm) {
    for (let at = 0; at < pcm.length; at += PIECE) session.sendAudio(pcm.slice(at, at + PIECE).buffer);
}

/** A conversation over the package's own WebSocket transport, whose socket is a call. */
async function begin({ url, key, options, seen }, client) {
    let call;
    const createWebSocket = async ({ url: at, apiKey }) => {
        call = connect(at, { ...options, token: apiKey, input: { rate: 24_000 }, client });
        return asWebSocket(call, at);
    };
    const agent = new RealtimeAgent({ name: "clerk", instructions: "You sell eggs." });
    const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ url, createWebSocket }) });
    watch(session, seen);
    await session.connect({ apiKey: key, url });
    await came(session, seen, "session.updated");
    return { session, call };
}

const CONVERSATIONS = {
    async turn(given) {
        const { seen } = given;
        const { session, call } = await begin(given, "turn");
        const played = heard(call, "playback", ({ state }) => state === "done", PATIENCE_MS);
        speak(session, given.questions[0]);
        await came(session, seen, "response.done");
        const { heardMs, itemId } = await played;
        const { transport } = call.statistics();
        session.close();
        await call.closed;
        Object.assign(seen, { heardMs, itemId, transport, status: session.transport.status });
    },

    /** Somebody speaks into a long answer. */
    async bargeIn(given) {
        const { seen } = given;
        const { session, call } = await begin(given, "bargeIn");
        const playing = heard(call, "playback", ({ heardMs }) => heardMs > 700, PATIENCE_MS);
        const stopped = heard(call, "playback", ({ state }) => state === "stopped", PATIENCE_MS);
        speak(session, given.questions[0]);
        await playing;
        speak(session, given.questions[1]);
        const { heardMs, itemId } = await stopped;
        await came(session, seen, "response.done", 2);
        await came(session, seen, "conversation.item.truncated");
        const { transport } = call.statistics();
        session.close();
        await call.closed;
        Object.assign(seen, { heardMs, itemId, transport });
    },

    /** The transport of ours: the application stops an answer, when all of it has arrived. */
    async ownTransport({ url, key, options, questions, seen }) {
        const transport = new LegatoRealtimeTransport(url, { call: { ...options, client: "ownTransport" }, microphone: false });
        const session = new RealtimeSession(new RealtimeAgent({ name: "clerk" }), { transport });
        watch(session, seen);
        await session.connect({ apiKey: key });
        await came(session, seen, "session.updated");
        const { call } = transport;
        const playing = heard(call, "playback", ({ heardMs }) => heardMs > 500, PATIENCE_MS);
        const stopped = heard(call, "playback", ({ state }) => state === "stopped", PATIENCE_MS);
        session.mute(true);
        const { muted } = session;
        session.mute(false);
        speak(session, questions[0]);
        await playing;
        await came(session, seen, "response.done");
        session.interrupt();
        const { heardMs, itemId } = await stopped;
        await came(session, seen, "conversation.item.truncated");
        session.close();
        await call.closed;
        Object.assign(seen, { heardMs, itemId, muted });
    },
};

/** Holds the conversations, one after another. */
export async function playAll({ url, key, certificateHash, questions }) {
    const options = { certificateHashes: [certificateHash], discover: false, transport: "webtransport" };
    const samples = async (file) => new Int16Array(await (await fetch(file)).arrayBuffer());
    const given = { url, key, options, questions: await Promise.all(questions.map(samples)) };
    const all = {};
    for (const [name, hold] of Object.entries(CONVERSATIONS)) {
        const seen = (all[name] = {});
        const fail = ({ message }) => (seen.failed = `${message}; ${JSON.stringify(seen)}`);
        await within(hold({ ...given, seen }), PATIENCE_MS, "end").catch(fail);
    }
    return all;
}
