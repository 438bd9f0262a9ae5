// How a page plays scenes, and what every set of scenes needs for it. Must not know any single scene, nor in which
// browser it is.

const SCENE_TIMEOUT_MS = 10_000;

/** A session with a server whose certificate has this hash; `ready` is not awaited. */
export function connect(url, hash) {
    const serverCertificateHashes = [{ algorithm: "sha-256", value: Uint8Array.from(hash) }];
    const session = new WebTransport(url, { serverCertificateHashes });
    session.closed.catch(() => {});
    return session;
}

/** What comes back for a datagram; those may be lost, so it goes out until something does. */
export async function answerTo(session, bytes) {
    const writer = (session.datagrams.createWritable?.() ?? session.datagrams.writable).getWriter();
    const reader = session.datagrams.readable.getReader();
    const beat = setInterval(() => writer.write(bytes), 50);
    const { value } = await reader.read();
    clearInterval(beat);
    return value;
}

/** What an error says about itself, without the words that each browser chooses. */
const facts = (error) => ({ name: error?.name, source: error?.source, streamErrorCode: error?.streamErrorCode });

export const failure = (promise) => promise.then(() => null, facts);

function within(promise, milliseconds) {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("no end in time")), milliseconds));
    return Promise.race([promise, late]);
}

/** Plays the scenes one after another; each gives what it saw or the error that ended it. */
export async function play(scenes, ...given) {
    const seen = {};
    for (const [name, scene] of Object.entries(scenes)) {
        try {
            seen[name] = await within(scene(...given), SCENE_TIMEOUT_MS);
        } catch (error) {
            seen[name] = { failed: `${error.name}: ${error.message}` };
        }
    }
    return seen;
}
