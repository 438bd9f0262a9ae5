// The door of `legato-voice/websocket`: a call for programs that were written for a WebSocket of OpenAI Realtime.

import type { VoiceSession } from "../session.ts";
import { RealtimeSocket } from "./realtime-socket.ts";

export type { RealtimeSocket };

/**
 * A call as a WebSocket that speaks OpenAI Realtime. The call plays replies by itself, unless it was made with
 * `speaker: false`; the audio in events is for those who want to see it. `url` is what the socket says of itself.
 */
export function asWebSocket(call: VoiceSession, url = ""): RealtimeSocket {
  return new RealtimeSocket(call, url);
}
