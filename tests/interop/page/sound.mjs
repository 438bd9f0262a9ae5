// What a browser's loudspeaker gives, and what is said into its microphone: programs of the sound server.
//
// Owns those programs. Must not know browsers.

import { spawn } from "node:child_process";
import { once } from "node:events";

const RATE = 16_000;
/** Louder than anything but speech. */
const LOUD = 300;
const BLOCK = RATE / 50;

/** Records the loudspeaker from now on. */
export class Loudspeaker {
    #samples = [];
    #waiting = [];
    #rest = Buffer.alloc(0);
    #process;

    constructor() {
        const format = ["--raw", "--format=s16le", `--rate=${RATE}`, "--channels=1", "--latency-msec=20"];
        this.#process = spawn("parec", ["--device=loudspeaker.monitor", ...format], { stdio: ["ignore", "pipe", "inherit"] });
        this.#process.stdout.on("data", (data) => this.#take(data));
    }

    /** Resolves with the moment (of `performance.now()`) since which it has been loud, or silent, for so long. */
    heard(loud, forMs, withinMs) {
        const blocks = Math.ceil(forMs / 20);
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`the loudspeaker was not ${loud ? "loud" : "silent"}`)), withinMs);
            const check = () => {
                const last = this.#samples.slice(-blocks);
                // Words have gaps between them.
                const share = last.filter((level) => level > LOUD).length / blocks;
                if (last.length < blocks || (loud ? share < 0.6 : share > 0)) return false;
                clearTimeout(timer);
                resolve(performance.now() - forMs);
                return true;
            };
            if (!check()) this.#waiting.push(check);
        });
    }

    /** The loudest of the last so many milliseconds. */
    loudest(ms) {
        return Math.max(0, ...this.#samples.slice(-Math.ceil(ms / 20)));
    }

    close() {
        this.#process.kill();
    }

    #take(data) {
        const all = Buffer.concat([this.#rest, data]);
        const whole = Math.floor(all.length / (2 * BLOCK));
        for (let block = 0; block < whole; block += 1) {
            let sum = 0;
            for (let at = 0; at < BLOCK; at += 1) sum += all.readInt16LE(2 * (block * BLOCK + at)) ** 2;
            this.#samples.push(Math.sqrt(sum / BLOCK));
        }
        this.#rest = all.subarray(whole * 2 * BLOCK);
        this.#waiting = this.#waiting.filter((check) => !check());
    }
}

/** Play a WAV file into the microphone, to its end. */
export async function say(file) {
    const player = spawn("paplay", ["--device=mouth", file], { stdio: ["ignore", "ignore", "inherit"] });
    const [status] = await once(player, "exit");
    if (status !== 0) throw new Error(`paplay ended with ${status}`);
}
