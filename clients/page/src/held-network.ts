// A tunnel for demonstrations: while the network is held, nothing of this worker's connections passes, either way.
//
// What is reliable waits and arrives later, whole and in order; datagrams are lost. New connections do not come about
// meanwhile. Owns what the browser's own classes let through in this worker. Must not know what is sent.
//
// The page says "hold" and "release" on a channel whose name is in this worker's address.

/** Whoever waits for the network to be let go. */
let released: Promise<void> | null = null;
let release: (() => void) | null = null;
/** In order, what happens as soon as it is. */
const late: (() => void)[] = [];

function hold(held: boolean): void {
  if (held && !released) {
    released = new Promise((resolve) => (release = resolve));
  } else if (!held && released) {
    released = null;
    for (const act of late.splice(0)) act();
    release!();
  }
}

/** Do it now, or when the network is let go; in order. */
function soon(act: () => void): void {
  if (released) late.push(act);
  else act();
}

const channel = new BroadcastChannel(new URLSearchParams(location.search).get("network") ?? "");
channel.onmessage = ({ data }: MessageEvent<boolean>) => hold(data);

/** Streams of datagrams. */
const lossy = new WeakSet<object>();

function passing<T>(promise: Promise<T>): Promise<T> {
  return promise.then(async (value) => {
    while (released) await released;
    return value;
  });
}

function holdReading(): void {
  const getReader = ReadableStream.prototype.getReader as (this: ReadableStream, options?: unknown) => ReadableStreamDefaultReader;
  ReadableStream.prototype.getReader = function (this: ReadableStream, options?: unknown) {
    const reader = getReader.call(this, options);
    const read = reader.read.bind(reader);
    const loses = lossy.has(this);
    reader.read = async () => {
      for (;;) {
        const result = await read();
        if (!released) return result;
        if (loses && !result.done) continue;
        while (released) await released;
        return result;
      }
    };
    return reader;
  } as typeof ReadableStream.prototype.getReader;
}

function holdWriting(): void {
  const { getWriter } = WritableStream.prototype;
  WritableStream.prototype.getWriter = function (this: WritableStream) {
    const writer = getWriter.call(this);
    const [write, close] = [writer.write.bind(writer), writer.close.bind(writer)];
    const later = (act: () => Promise<void>): Promise<void> =>
      new Promise((resolve, reject) => soon(() => void act().then(resolve, reject)));
    writer.write = (chunk) => {
      if (!released) return write(chunk);
      return lossy.has(this) ? Promise.resolve() : later(() => write(chunk));
    };
    writer.close = () => (released ? later(close) : close());
    return writer;
  };
}

function heldWebTransport(Native: typeof WebTransport): typeof WebTransport {
  return class extends Native {
    override get ready(): Promise<undefined> {
      return passing(super.ready as Promise<undefined>);
    }

    override get datagrams(): WebTransportDatagramDuplexStream {
      const { datagrams } = { datagrams: super.datagrams } as { datagrams: { readable: object; writable: object } };
      lossy.add(datagrams.readable).add(datagrams.writable);
      // The other way to the same datagrams would not be known here.
      Object.defineProperty(datagrams, "createWritable", { value: undefined, configurable: true });
      return datagrams as unknown as WebTransportDatagramDuplexStream;
    }
  };
}

function heldWebSocket(Native: typeof WebSocket): typeof WebSocket {
  return class extends Native {
    private waiting = 0;

    override send(data: ArrayBufferView<ArrayBuffer>): void {
      this.waiting += data.byteLength;
      soon(() => {
        this.waiting -= data.byteLength;
        super.send(data);
      });
    }

    override get bufferedAmount(): number {
      return super.bufferedAmount + this.waiting;
    }

    override set onopen(tell: ((event: Event) => void) | null) {
      super.onopen = tell && ((event) => soon(() => tell(event)));
    }

    override set onmessage(tell: ((event: MessageEvent) => void) | null) {
      super.onmessage = tell && ((event) => soon(() => tell(event)));
    }

    override set onclose(tell: ((event: CloseEvent) => void) | null) {
      super.onclose = tell && ((event) => soon(() => tell(event)));
    }
  };
}

holdReading();
holdWriting();
if (typeof WebTransport !== "undefined") globalThis.WebTransport = heldWebTransport(WebTransport);
globalThis.WebSocket = heldWebSocket(WebSocket);

export {};
