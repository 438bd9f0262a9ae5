// What a page does in each scene of tests/interop/scenes.py, and what it saw: the browser's half of the interop tests.
// Runs in a page; must not know which browser it is in, nor legato's own protocol.

import { answerTo, connect as connectTo, failure, play } from "./play.mjs";

const encode = (words) => new TextEncoder().encode(words);
const decode = (bytes) => new TextDecoder().decode(bytes);

async function readAll(readable) {
    const chunks = [];
    for (const reader = readable.getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        chunks.push(value);
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

async function write(writable, ...chunks) {
    const writer = writable.getWriter();
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
}

async function echo(session, bytes) {
    const stream = await session.createBidirectionalStream();
    const [answer] = await Promise.all([readAll(stream.readable), write(stream.writable, bytes)]);
    return answer;
}

async function nextServerStream(session) {
    const reader = session.incomingUnidirectionalStreams.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    return value;
}

/** An error with a code; Chromium 156 still has the constructor of an earlier draft of the API. */
function streamError(streamErrorCode) {
    try {
        return new WebTransportError("", { streamErrorCode });
    } catch {
        return new WebTransportError({ streamErrorCode });
    }
}

const SCENES = {
    async bidirectional(open) {
        const session = await open("/echo?bidirectional");
        const words = await Promise.all(
            Array.from({ length: 10 }, async (_, number) => decode(await echo(session, encode(`stream ${number}`)))),
        );
        session.close();
        return words;
    },

    async large(open) {
        const session = await open("/echo?large");
        const bytes = new Uint8Array(1 << 20).map((_, index) => (index * 31) >> 3);
        const answer = await echo(session, bytes);
        session.close();
        return answer.length === bytes.length && answer.every((byte, index) => byte === bytes[index]);
    },

    async unidirectional(open) {
        const session = await open("/echo?unidirectional");
        await write(await session.createUnidirectionalStream(), encode("one "), encode("way"));
        const answer = decode(await readAll(await nextServerStream(session)));
        session.close();
        return answer;
    },

    async datagram(open) {
        const session = await open("/echo?datagram");
        const answer = decode(await answerTo(session, encode("beat")));
        session.close();
        return answer;
    },

    async speaks(open) {
        const session = await open("/speaks");
        const bytes = await readAll(await nextServerStream(session));
        session.close();
        return { length: bytes.length, intact: bytes.every((byte, index) => byte === index % 256) };
    },

    async early(open, connect) {
        const session = connect("/echo?early");
        const answer = decode(await echo(session, encode("before ready")));
        session.close();
        return answer;
    },

    async clientCloses(open) {
        const session = await open("/echo?closed-by-client");
        await echo(session, encode("x"));
        session.close({ closeCode: 17, reason: "done here" });
        const { closeCode, reason } = await session.closed;
        return { closeCode, reason };
    },

    async serverCloses(open) {
        const session = await open("/closes");
        const stream = await session.createBidirectionalStream();
        stream.writable.getWriter().write(encode("please")).catch(() => {});
        const { closeCode, reason } = await session.closed;
        return { closeCode, reason, read: await failure(stream.readable.getReader().read()) };
    },

    async drains(open) {
        const session = await open("/drains");
        const answers = [decode(await echo(session, encode("still"))), decode(await echo(session, encode("here")))];
        session.close();
        return answers;
    },

    async serverResets(open) {
        const session = await open("/resets");
        const speech = (await nextServerStream(session)).getReader();
        await speech.read();
        const ask = async (words) => {
            const stream = await session.createBidirectionalStream();
            const writer = stream.writable.getWriter();
            await writer.write(encode(words));
            return [stream.readable.getReader(), writer];
        };
        const [answer] = await ask("reset");
        const [, writer] = await ask("stop");
        const seen = {
            speech: await failure(speech.read()),
            answer: await failure(answer.read()),
            write: await failure(writer.closed),
        };
        session.close();
        return seen;
    },

    async clientResets(open) {
        const session = await open("/echo?reset-by-client");
        const stream = await session.createBidirectionalStream();
        const writer = stream.writable.getWriter();
        const reader = stream.readable.getReader();
        await writer.write(encode("x"));
        await reader.read();
        await Promise.allSettled([writer.abort(streamError(30)), reader.cancel(streamError(6))]);
        const answer = decode(await echo(session, encode("afterwards")));
        session.close();
        return answer;
    },

    async byName(open, connect) {
        const session = connect("/echo?by-name", { host: "localhost" });
        const answer = decode(await echo(session, encode("hello")));
        session.close();
        return answer;
    },

    async notFound(open) {
        return failure(open("/nowhere"));
    },

    async busy(open) {
        return failure(open("/busy"));
    },

    async foreignCertificate(open, connect) {
        return failure(connect("/echo?foreign", { hash: new Uint8Array(32) }).ready);
    },
};

/** Plays all scenes; gives what each saw. */
export async function playAll({ port, certificateHash }) {
    const connect = (path, { host = "127.0.0.1", hash = certificateHash } = {}) =>
        connectTo(`https://${host}:${port}${path}`, hash);
    const open = async (path) => {
        const session = connect(path);
        await session.ready;
        return session;
    };
    return play(SCENES, open, connect);
}
