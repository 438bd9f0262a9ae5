// One WebSocket that carries the streams of a call: for networks that let no UDP through (SPEC 20).
//
// Owns the socket. What only TCP can do to us stays: a loss delays everything behind it, and a page cannot make a
// browser stop reading a WebSocket, so that what the server sends is bounded by `lead_ms` alone.

import { RemoteProtocolError } from "../errors.ts";
import { cut } from "../wire/close-reason.ts";
import { DATA_MESSAGE_MAX_BYTES, SessionCode, WEBSOCKET_PROTOCOL } from "../wire/codes.ts";
import { decode, encode, MuxStreams, type Message, type StreamMessage } from "../wire/mux.ts";
import { Listening, type Attempt, type Handler, type Transport } from "./base.ts";

/** Bytes that wait in the socket above which datagrams are dropped: they would come too late to say anything. */
const DATAGRAM_BACKLOG_BYTES = 16_384;

/** What is used of a browser's WebSocket. */
export type Socket = Pick<
  WebSocket,
  "binaryType" | "bufferedAmount" | "protocol" | "onopen" | "onmessage" | "onclose" | "onerror"
> & { send(data: Uint8Array): void; close(code?: number): void };

export class WebSocketTransport implements Transport {
  readonly name = "websocket";
  private readonly streams = new MuxStreams();
  private readonly listening = new Listening((code, reason) => this.refuse(code, reason));
  private over = false;

  /** Open a socket, by default a browser's own. */
  static connect(open: () => Socket): Attempt & { readonly ready: Promise<WebSocketTransport> } {
    const socket = open();
    const ready = new Promise<WebSocketTransport>((resolve, reject) => {
      socket.onopen = () => {
        if (socket.protocol === WEBSOCKET_PROTOCOL) {
          resolve(new WebSocketTransport(socket));
        } else {
          socket.close();
          reject(new Error("the server does not speak legato.v1 on WebSockets"));
        }
      };
      socket.onclose = () => reject(new Error("the WebSocket was refused or could not be opened"));
    });
    return { ready, abandon: () => socket.close() };
  }

  /** A browser's socket for this URL. */
  static socket(url: string): Socket {
    return new WebSocket(url, WEBSOCKET_PROTOCOL) as unknown as Socket;
  }

  private constructor(private readonly socket: Socket) {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = ({ code }) => this.end("transport", 0, `the WebSocket closed with status ${code}`);
  }

  get unsent(): number {
    return this.socket.bufferedAmount;
  }

  bind(handler: Handler): void {
    this.listening.bind(handler);
  }

  openStream(bidirectional: boolean): number {
    return this.streams.open(bidirectional);
  }

  send(stream: number, data: Uint8Array, fin: boolean): void {
    for (let at = 0; at === 0 || at < data.length; at += DATA_MESSAGE_MAX_BYTES) {
      const bytes = data.subarray(at, at + DATA_MESSAGE_MAX_BYTES);
      this.say({ type: "data", stream, fin: fin && at + bytes.length === data.length, bytes });
    }
    if (fin) this.streams.finished(stream);
  }

  stop(stream: number, code: number): void {
    if (this.streams.declined(stream)) this.say({ type: "stop", stream, code });
  }

  sendDatagram(bytes: Uint8Array): void {
    if (this.socket.bufferedAmount < DATAGRAM_BACKLOG_BYTES) this.say({ type: "datagram", bytes });
  }

  close(code: number, reason: string): void {
    this.say({ type: "close", code, reason });
    this.over = true;
    this.listening.silence();
    this.socket.close(1000);
  }

  private say(message: Message): void {
    if (!this.over) this.socket.send(encode(message));
  }

  private take(data: unknown): void {
    if (this.over) return;
    try {
      if (!(data instanceof ArrayBuffer)) {
        throw new RemoteProtocolError(SessionCode.PROTOCOL_VIOLATION, "a text message on the WebSocket");
      }
      const message = decode(new Uint8Array(data));
      if (message) this.deliver(message);
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.refuse(error.code, error.reason);
    }
  }

  private refuse(code: number, reason: string): void {
    this.say({ type: "close", code, reason: cut(reason) });
    this.end("local", code, reason);
    this.socket.close(1000);
  }

  private deliver(message: Message): void {
    if (message.type === "datagram") {
      this.listening.datagram(message.bytes);
    } else if (message.type === "close") {
      this.end("peer", message.code, message.reason);
      this.socket.close(1000);
    } else if (message.type !== "drain") {
      this.deliverToStream(message);
    }
  }

  private deliverToStream(message: StreamMessage): void {
    const judged = this.streams.judge(message);
    if (judged === "dropped") return;
    const { stream } = message;
    if (judged === "opened") this.listening.streamOpened(stream, stream % 4 < 2);
    if (message.type === "data") this.listening.streamData(stream, message.bytes, message.fin);
    else if (message.type === "reset") this.listening.streamReset(stream, message.code);
    else this.listening.streamStopped(stream, message.code);
  }

  private end(by: "local" | "peer" | "transport", code: number, reason: string): void {
    if (this.over) return;
    this.over = true;
    this.listening.closed(by, code, reason);
  }
}
