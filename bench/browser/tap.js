// Runs in the audio thread: tells when what passes falls silent, or sounds again.

class Tap extends AudioWorkletProcessor {
    #silent = true;

    process([input]) {
        const loudest = (input[0] ?? []).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
        const silent = loudest < 1e-4;
        if (silent !== this.#silent) this.port.postMessage({ silent, at: Date.now() });
        this.#silent = silent;
        return true;
    }
}

registerProcessor("tap", Tap);
