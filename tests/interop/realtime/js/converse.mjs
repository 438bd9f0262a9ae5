// Holds one conversation with OpenAI's Agents SDK and prints, as one line of JSON, what it sent and saw.
//
//   echo '{"scene": "...", "url": "wss://...", "key": "...", "questions": ["base64 of PCM"]}' | node converse.mjs
//
// Owns what an application would do: speak, play, run tools. Must not judge; the tests do.
import { text } from 'node:stream/consumers';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { WebSocket } from 'ws';
import { z } from 'zod';

const { scene, url, key, questions } = JSON.parse(await text(process.stdin));
const PIECE = 9600; // 200 ms
const sent = [];
const events = [];
const errors = [];
const audio = [];
let changed = () => {};

/** A WebSocket as a browser opens it: the key is a subprotocol. What is sent through it is noted. */
function browserLike({ url, apiKey }) {
  const socket = new WebSocket(url, ['realtime', `openai-insecure-api-key.${apiKey}`, 'openai-agents-sdk.test']);
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    sent.push(JSON.parse(data));
    send(data);
  };
  return socket;
}

const weather = tool({
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => `It rains in ${city}.`,
});

const agent = new RealtimeAgent({ name: 'clerk', instructions: 'You sell eggs.', tools: [weather] });
const transport = new OpenAIRealtimeWebSocket(
  scene === 'spoken' ? { url } : { url, createWebSocket: async (options) => browserLike(options) },
);
const session = new RealtimeSession(agent, { transport });
const interruptions = [];
session.on('transport_event', (event) => {
  events.push(event);
  changed();
});
session.on('error', (error) => errors.push(String(error?.error?.message ?? JSON.stringify(error))));
session.on('audio', (event) => audio.push(Buffer.from(event.data).toString('base64')));
session.on('audio_interrupted', () => interruptions.push(events.length));

const count = (type) => events.filter((event) => event.type === type).length;

/** Wait until an event of this type has come so many times. */
async function until(type, times = 1) {
  while (count(type) < times) await new Promise((resolve) => (changed = resolve));
}

function speak(question) {
  const pcm = Buffer.from(question, 'base64');
  for (let start = 0; start < pcm.length; start += PIECE) {
    const piece = pcm.subarray(start, start + PIECE);
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
  }
}

await session.connect({ apiKey: key, url });
await until('session.updated');
speak(questions[0]);
if (scene === 'stop') {
  await until('response.output_audio.delta');
  session.interrupt();
  await until('conversation.item.truncated');
}
await until('response.done', scene === 'tool' ? 2 : 1);
if (scene === 'interruption') {
  const retrieved = count('conversation.item.retrieved');
  speak(questions[1]);
  await until('conversation.item.truncated');
  await until('response.done', 2);
  await until('conversation.item.retrieved', retrieved + 1);
}
const seen = { sent, events, errors, audio, interruptions, history: session.history, protocol: transport.connectionState.websocket?.protocol };
session.close();
process.stdout.write(JSON.stringify(seen) + '\n');
