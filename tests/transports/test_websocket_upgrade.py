"""How a WebSocket begins: the upgrade, answered and refused."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.transports.websocket_peers import (
    ANSWER_S,
    Owner,
    accepting,
    client,
    place,
    raw,
)
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from legato.transports.websocket import WebSocketConnection
from legato.transports.websocket_upgrade import IncomingWebSocket


class TestUpgrade:
    async def test_it_is_described_and_answered(self, owner: Owner) -> None:
        seen: list[IncomingWebSocket] = []

        def answer(incoming: IncomingWebSocket) -> None:
            seen.append(incoming)
            incoming.accept(owner.bind, subprotocol="two", headers=[("X-Name", "value")])

        async with place(answer) as server, client(server.url, subprotocols=["one", "two"]) as caller:
            assert caller.subprotocol == "two"
            assert caller.response is not None
            assert caller.response.headers["X-Name"] == "value"
            incoming = seen[0]
            assert (incoming.path, incoming.query) == ("/somewhere", "a=b")
            assert incoming.subprotocols == ["one", "two"]
            assert incoming.header("host") == f"127.0.0.1:{server.port}"
            assert incoming.header("x-unknown") is None
            assert incoming.remote.startswith("127.0.0.1:")
            info = owner.connection.info
            assert (info.name, info.remote) == ("websocket", incoming.remote)
            assert info.local == f"127.0.0.1:{server.port}"

    async def test_it_is_refused_with_a_body(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            incoming.reject(401, b'{"error":1}', [("Content-Type", "application/json")])

        async with place(answer) as server:
            with pytest.raises(InvalidStatus) as refused:
                async with client(server.url):
                    pass
            response = refused.value.response
            assert response.status_code == 401
            assert response.body == b'{"error":1}'
            assert response.headers["Content-Type"] == "application/json"

    async def test_what_is_no_upgrade_is_told_so(self, owner: Owner) -> None:
        async with place(accepting(owner)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            async with asyncio.timeout(ANSWER_S):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"Sec-WebSocket-Key" in answer
            writer.close()

    async def test_an_owner_that_fails_answers_500(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            raise ValueError("a mistake")

        async with place(answer) as server:
            with pytest.raises(InvalidStatus) as refused:
                async with client(server.url):
                    pass
            assert refused.value.response.status_code == 500

    async def test_an_owner_that_fails_behind_its_answer_ends_the_connection(self) -> None:
        def answer(incoming: IncomingWebSocket) -> None:
            def bind(connection: WebSocketConnection) -> Owner:
                raise ValueError("a mistake")

            incoming.accept(bind)

        async with place(answer) as server, raw(server.port) as caller:
            caller.frame(Opcode.TEXT, b"hello")
            assert await caller.closed_with() == (1011, "an internal error")

    async def test_the_answer_may_come_later(self, owner: Owner) -> None:
        asked: asyncio.Queue[IncomingWebSocket] = asyncio.Queue()
        async with place(asked.put_nowait) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: bGVnYXRvIG1lYXN1cmVzIQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            incoming = await asyncio.wait_for(asked.get(), ANSWER_S)
            # What is said too early waits for the answer.
            server.made[0].data_received(Frame(Opcode.TEXT, b"early").serialize(mask=True))
            assert owner.messages == []
            incoming.accept(owner.bind)
            await owner.until(lambda: owner.messages == ["early"])
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
            writer.close()

    async def test_who_left_before_the_answer_is_reported_gone(self, owner: Owner) -> None:
        asked: asyncio.Queue[IncomingWebSocket] = asyncio.Queue()
        async with place(asked.put_nowait) as server:
            async with asyncio.timeout(ANSWER_S):
                waiting = asyncio.create_task(client(server.url).__aenter__())
                incoming = await asked.get()
                server.made[0]._transport.abort()
                with contextlib.suppress(Exception):
                    await waiting
            incoming.accept(owner.bind)
            async with asyncio.timeout(ANSWER_S):
                await owner.ended.wait()
            assert owner.ends[0][:2] == ("transport", 1006)
            incoming.reject(400)  # too late for anything
            owner.connection.send_text("lost")
            assert owner.messages == []
