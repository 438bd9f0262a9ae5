// A call with what both sides say, and what becomes of it when the network fails. `npm install && npm run build`, then
// serve this folder; `?server=` is where the voice server is, `/token` is your own server's answer to who may call.

import { connect, VoiceError, type VoiceSession } from "legato-voice";

const server = new URLSearchParams(location.search).get("server") ?? "https://127.0.0.1:4433";
const token = async (): Promise<string> => (await fetch("/token")).text();
const show = (id: string, text: string): string => (document.getElementById(id)!.textContent = text);
let call: VoiceSession | null = null;

function say(text: unknown): void {
  const line = document.createElement("li");
  line.textContent = String(text);
  document.getElementById("said")!.append(line);
}

function listen(to: VoiceSession): void {
  to.on("state", ({ state }) => show("state", state));
  to.on("playback", ({ heardMs }) => show("heard", (heardMs / 1_000).toFixed(1)));
  to.on("error", ({ code, message }) => show("problem", `${code}: ${message}`));
  to.on("event", (event) => {
    if (event.type === "conversation.item.input_audio_transcription.completed") say(event["transcript"]);
    if (event.type === "response.output_audio_transcript.done") say(event["transcript"]);
  });
  // What was said meanwhile has arrived all the same; `lostMs` is 0 unless the outage was longer than the server waits.
  to.on("resumed", ({ continued, silentMs, lostMs }) => {
    say(continued ? `(back after ${silentMs} ms, ${lostMs} ms lost)` : "(a new call: the server knows the old one no more)");
  });
}

document.querySelector("button")!.onclick = async () => {
  if (call && call.state !== "ended") return call.close();
  try {
    call = connect(server, { token });
    listen(call);
    await call.microphone({ noiseSuppression: true });
  } catch (error) {
    show("problem", error instanceof VoiceError ? `${error.code}: ${error.message}` : String(error));
  }
};
