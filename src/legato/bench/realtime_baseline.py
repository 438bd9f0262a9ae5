"""The rival of a Realtime call: the same JSON echoed by `websockets` as it comes, with uvloop and TLS.

Owns the least that a server in Python can do with a message. Compression is off, nothing is parsed, nothing
is logged: all that remains is what any WebSocket costs.

Runs as a process: `python -m legato.bench.realtime_baseline PORT CERTIFICATE KEY`.
"""

from __future__ import annotations

import ssl
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _main(port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serve(
        _echo, "127.0.0.1", port, ssl=context, compression=None, ping_interval=None, backlog=1024
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
