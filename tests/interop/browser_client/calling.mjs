// What every page of calls needs: patience, events, the audio of replies. Must not know any single call.

export const CALL_TIMEOUT_MS = 12_000;
export const PIECE = 320;
export const PCM = { codec: "pcm16", rate: 16_000 };

export const failure = ({ code, name, message }) => ({ code: code ?? name, message });

export function within(promise, milliseconds, what) {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what} in time`)), milliseconds));
    return Promise.race([promise, late]);
}

/** The first event of a kind for which this holds. */
export const heard = (call, name, holds = () => true, patience = CALL_TIMEOUT_MS) =>
    within(new Promise((resolve) => call.on(name, (event) => holds(event) && resolve(event))), patience, name);

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

/** The replies to a call as they arrive, one after another, in base64 once there are this many samples. */
export function replied(call, samples, patience = CALL_TIMEOUT_MS) {
    const pieces = [];
    let count = 0;
    const all = new Promise((resolve) => {
        call.on("audio", ({ pcm }) => {
            pieces.push(...new Uint8Array(pcm.buffer));
            count += pcm.length;
            if (count >= samples) resolve(base64(pieces));
        });
    });
    return within(all, patience, "audio");
}

/** Samples that came in base64. */
export const samplesOf = (text) => new Int16Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
