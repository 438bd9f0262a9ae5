// The door of `legato-voice/openai-agents`: a transport for the sessions of OpenAI's Agents SDK.
//
// Owns what is better here than over a WebSocket: the call captures and plays, so that an interruption is exact and a
// microphone can be muted. Must not know the wire; needs the package @openai/agents-realtime beside it.

import { OpenAIRealtimeWebSocket, type OpenAIRealtimeWebSocketOptions, type RealtimeTransportLayer } from "@openai/agents-realtime";

import { connect } from "../connect.ts";
import type { VoiceSession } from "../session.ts";
import type { ConnectOptions, MicrophoneOptions } from "../settings.ts";
import { RealtimeSocket } from "./realtime-socket.ts";

export interface LegatoTransportOptions {
  /** How to call. The token is the `apiKey` of `session.connect`. */
  call?: Omit<ConnectOptions, "token">;
  /** What is captured; false for sessions that are given audio with `sendAudio`. Default: the browser's choice. */
  microphone?: MicrophoneOptions | false;
  /** Allow keys that are no client secret: for servers on this machine. */
  useInsecureApiKey?: boolean;
}

/** The class below this one by what is used of it; its own types rule out that a transport can be muted. */
type WebSocketTransport = Omit<OpenAIRealtimeWebSocket, "muted" | "mute" | "_interrupt"> & { _onError(error: unknown): void };

const Base = OpenAIRealtimeWebSocket as unknown as new (options: OpenAIRealtimeWebSocketOptions) => WebSocketTransport;
type CreateWebSocket = NonNullable<OpenAIRealtimeWebSocketOptions["createWebSocket"]>;
type CreateWebSocketOptions = Parameters<CreateWebSocket>[0];
/** `new RealtimeSession(agent, { transport: new LegatoRealtimeTransport("https://voice.example") })` */
export class LegatoRealtimeTransport extends Base implements RealtimeTransportLayer {
  private socket: RealtimeSocket | null = null;
  private isMuted = false;

  constructor(
    url: string | URL,
    private readonly options: LegatoTransportOptions = {},
  ) {
    super({
      url: String(url),
      useInsecureApiKey: options.useInsecureApiKey ?? false,
      // The socket has all that is used of one; TypeScript wants the class of a package for Node.
      createWebSocket: (async ({ url: at, apiKey }: CreateWebSocketOptions) => this.open(at, apiKey)) as unknown as CreateWebSocket,
    });
  }

  /** The call, for meters, devices, statistics and states; null before `connect`. */
  get call(): VoiceSession | null {
    return this.socket?.call ?? null;
  }

  get muted(): boolean {
    return this.isMuted;
  }

  mute(muted: boolean): void {
    this.isMuted = muted;
    this.call?.mute(muted);
  }

  /** Overrides what would hand audio to the application: the call plays. */
  _onAudio(): void {}

  /** Overrides what would count by a clock what was heard, and leave alone what has been said by it: the call knows. */
  _interrupt(_elapsedMs: number, cancelOngoingResponse = true): void {
    if (cancelOngoingResponse) this._cancelResponse();
    this.emit("audio_interrupted");
    this.socket?.truncateSounding();
  }

  private open(url: string, token: string): RealtimeSocket {
    const { call: more, microphone } = this.options;
    const call = connect(url, { ...more, token, input: { rate: 24_000, ...more?.input } });
    this.socket = new RealtimeSocket(call, url);
    call.mute(this.isMuted);
    if (microphone !== false) call.microphone(microphone).catch((error: unknown) => this._onError(error));
    return this.socket;
  }
}
