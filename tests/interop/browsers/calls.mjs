// Calls that a page makes to a legato server, written from wire/SPEC.md alone: the browsers' half of test_serve.py.
// Plays what aioquic_calls.py plays, under the same names, with the same answers. Must not know in which browser it is.

import { answerTo, connect as connectTo, failure, play } from "./play.mjs";

const [UPLINK_AUDIO, DOWNLINK_AUDIO, EVENT] = [1, 2, 0];
const RECORD_BYTES = 640;
const PCM = { codec: "pcm16", rate: 16_000, channels: 1 };

/** A number of at most 62 bits in the fewest bytes (RFC 9000, section 16). */
function varint(number) {
    const power = [6, 14, 30, 62].findIndex((bits) => number < 2 ** bits);
    const bytes = new Uint8Array(1 << power);
    bytes.forEach((_, at) => (bytes[at] = Math.floor(number / 256 ** (bytes.length - 1 - at)) % 256));
    bytes[0] |= power << 6;
    return bytes;
}

/** How many bytes a number takes, by its first byte; and the number in exactly those bytes. */
const sizeOf = (first) => 1 << (first >> 6);
const numberIn = ([first, ...rest]) => rest.reduce((number, byte) => number * 256 + byte, first & 0x3f);

const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

function eventRecord(event) {
    const payload = new TextEncoder().encode(JSON.stringify(event));
    return joined(varint(EVENT), varint(payload.length), payload);
}

/** The bytes of a stream, as many at a time as they are wanted. */
class Bytes {
    constructor(readable) {
        this.reader = readable.getReader();
        this.kept = new Uint8Array(0);
    }

    async take(count) {
        while (this.kept.length < count) {
            const { value, done } = await this.reader.read();
            if (done) throw new Error("the stream ended");
            this.kept = joined(this.kept, value);
        }
        const taken = this.kept.slice(0, count);
        this.kept = this.kept.slice(count);
        return taken;
    }

    async varint() {
        const first = await this.take(1);
        return numberIn(joined(first, await this.take(sizeOf(first[0]) - 1)));
    }

    async json(length) {
        return JSON.parse(new TextDecoder().decode(await this.take(length)));
    }
}

class Call {
    /** Opens the control stream and says hello. */
    static async begin(session, hello) {
        const call = new Call();
        const { readable, writable } = await session.createBidirectionalStream();
        call.session = session;
        call.control = new Bytes(readable);
        call.writer = writable.getWriter();
        call.say({ type: "legato.hello", version: 1, input: PCM, output: [PCM], ...hello });
        return call;
    }

    say(event) {
        this.writer.write(eventRecord(event)).catch(() => {});
    }

    /** The next event; all are events here. */
    async event() {
        if ((await this.control.varint()) !== EVENT) throw new Error("not an event");
        return this.control.json(await this.control.varint());
    }

    /** The next event for which this holds. */
    async heard(type, holds = () => true) {
        for (;;) {
            const event = await this.event();
            if (event.type === type && holds(event)) return event;
        }
    }

    /** Sends audio, of which the first byte is at `start`, as one stream of 20 ms records. */
    async speak(audio, start = 0) {
        const writer = (await this.session.createUnidirectionalStream()).getWriter();
        writer.write(varint(UPLINK_AUDIO));
        for (let at = 0; at < audio.length; at += RECORD_BYTES) {
            const captured = varint(Math.round(performance.now() * 1000));
            const body = joined(varint((start + at) / 2), captured, audio.slice(at, at + RECORD_BYTES));
            writer.write(joined(varint(body.length), body));
        }
        await writer.close();
    }

    /** The header of the next reply. */
    async reply() {
        const streams = this.session.incomingUnidirectionalStreams.getReader();
        this.downlink = new Bytes((await streams.read()).value);
        streams.releaseLock();
        if ((await this.downlink.varint()) !== DOWNLINK_AUDIO) throw new Error("not audio");
        return this.downlink.json(await this.downlink.varint());
    }

    /** The reply from its beginning, until it is `length` bytes long or longer, in base64. */
    async listen(length) {
        const audio = [];
        while (audio.length < length) {
            const record = await this.downlink.take(await this.downlink.varint());
            const size = sizeOf(record[0]);
            const offset = numberIn(record.slice(0, size));
            if (offset * 2 !== audio.length) throw new Error(`a record at ${offset}`);
            audio.push(...record.slice(size));
        }
        return btoa(String.fromCharCode(...audio));
    }

    /** How the session was closed; null if it went without a word. */
    async closed() {
        return this.session.closed.then(({ closeCode, reason }) => ({ code: closeCode, reason }), () => null);
    }
}

const CALLS = {
    async echo({ open, token, audio }) {
        const call = await Call.begin(await open(), { client: "echo", token });
        const welcome = await call.event();
        const half = Math.floor(audio.length / 4) * 2;
        await call.speak(audio.slice(half), half);
        await call.speak(audio.slice(0, half));
        const header = await call.reply();
        const echoed = await call.listen(audio.length);
        const ack = await call.heard("legato.audio_ack", ({ offset }) => offset * 2 === audio.length);
        const beat = await answerTo(call.session, joined(varint(0), varint(300)));
        call.session.close({ closeCode: 17, reason: "done here" });
        await call.closed();
        return { welcome, header, echoed, ack, beat: [...beat] };
    },

    /** Hello, audio and what follows, before anything came back. */
    async early({ connect, token, audio }) {
        const call = await Call.begin(connect(), { client: "early", token });
        await call.speak(audio);
        await call.reply();
        const echoed = await call.listen(audio.length);
        call.say({ type: "legato.bye" });
        return { echoed, closed: await call.closed() };
    },

    async wrong_version({ open }) {
        return (await Call.begin(await open(), { version: 99 })).closed();
    },

    async wrong_path({ connect }) {
        return (await failure(connect("/elsewhere").ready))?.source === "session" ? "refused" : "not refused";
    },

    async drains({ open, token, audio }) {
        const call = await Call.begin(await open(), { client: "drains", token });
        const { in_ms } = await call.heard("legato.going_away");
        await call.speak(audio);
        await call.reply();
        return { in_ms, echoed: await call.listen(audio.length), closed: await call.closed() };
    },
};

/** Makes all calls, the one last that waits for the end of the server; gives what each saw. */
export async function playAll({ url, certificateHash, token, audio }) {
    const connect = (path) => connectTo(path ? new URL(path, url).href : url, certificateHash);
    const open = async () => {
        const session = connect();
        await session.ready;
        return session;
    };
    const samples = Uint8Array.from(atob(audio), (char) => char.charCodeAt(0));
    return play(CALLS, { connect, open, token, audio: samples });
}
