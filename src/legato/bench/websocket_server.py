"""The rival: a WebSocket server as one would write it today, with `websockets`, uvloop and TLS.

Owns the baseline of every measurement; must not use anything of legato's own path. Compression is off and
nothing is logged: the rival at its best. Binary messages are echoed. The text message "stream N" asks for N
bytes in messages of 64 KiB, then "end"; "first" asks for the time (CLOCK_MONOTONIC, nanoseconds) at which
the next binary message came.

Runs as a process: `python -m legato.bench.websocket_server PORT CERTIFICATE KEY`.
"""

from __future__ import annotations

import ssl
import sys
import time

import uvloop
from websockets.asyncio.server import ServerConnection, serve

CHUNK = bytes(64 * 1024)


async def _answer(connection: ServerConnection) -> None:
    first = False
    async for message in connection:
        if isinstance(message, bytes):
            if first:
                first = False
                await connection.send(str(time.monotonic_ns()))
            else:
                await connection.send(message)
        elif message == "first":
            first = True
        elif message.startswith("stream "):
            for _ in range(int(message.removeprefix("stream ")) // len(CHUNK)):
                await connection.send(CHUNK)
            await connection.send("end")


async def _main(port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serve(
        _answer, "127.0.0.1", port, ssl=context, compression=None, ping_interval=None, backlog=1024
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
