"""Calls to a legato server on aioquic, written from wire/SPEC.md alone: no line of legato runs here.

Plays what `browsers/calls.mjs` plays, under the same names, with the same answers. Must not know what is
expected.
"""

import asyncio
import base64
import json
import time
from typing import Any
from urllib.parse import urlsplit

from aioquic.buffer import Buffer, encode_uint_var
from tests.interop.aioquic_client import AioquicClient, aioquic_client

UPLINK_AUDIO, DOWNLINK_AUDIO, EVENT = 1, 2, 0
CLOSE_SESSION = 0x2843
RECORD_BYTES = 640
PCM = {"codec": "pcm16", "rate": 16_000, "channels": 1}
CALL_SECONDS = 10


class Call:
    """One call, from its hello on."""

    def __init__(self, session: AioquicClient, /, **hello: object) -> None:
        said = {"type": "legato.hello", "version": 1, "input": PCM, "output": [PCM]} | hello
        self.client = session
        self.control = session.open(_event_record(said), fin=False)
        self.downlink = -1

    def say(self, event: dict[str, Any]) -> None:
        """Send an event."""
        self.client.write(self.control, _event_record(event))

    async def event(self) -> dict[str, Any]:
        """The next event; all records are events here."""
        assert await self._varint(self.control) == EVENT
        return await self._json(self.control)

    async def heard(self, kind: str, **members: object) -> dict[str, Any]:
        """The next event of this type with these members."""
        while True:
            event = await self.event()
            if event["type"] == kind and event.items() >= members.items():
                return event

    def speak(self, audio: bytes, start: int = 0) -> None:
        """Send audio, of which the first byte is at `start`, as one stream of 20 ms records."""
        data = encode_uint_var(UPLINK_AUDIO)
        for at in range(0, len(audio), RECORD_BYTES):
            captured = encode_uint_var(time.monotonic_ns() // 1000)
            body = encode_uint_var((start + at) // 2) + captured + audio[at : at + RECORD_BYTES]
            data += encode_uint_var(len(body)) + body
        self.client.open(data, unidirectional=True)

    async def reply(self) -> dict[str, Any]:
        """The header of the next reply."""
        self.downlink = await self.client.server_streams.get()
        assert await self._varint(self.downlink) == DOWNLINK_AUDIO
        return await self._json(self.downlink)

    async def listen(self, length: int) -> str:
        """The reply from its beginning, until it is `length` bytes long or longer, in base64."""
        audio = b""
        while len(audio) < length:
            record = await self.client.take(self.downlink, await self._varint(self.downlink))
            body = Buffer(data=record)
            offset = body.pull_uint_var()
            assert offset * 2 == len(audio), f"a record at {offset}"
            audio += record[body.tell() :]
        return base64.b64encode(audio).decode()

    async def beat(self, datagram: bytes) -> list[int]:
        """What comes back for a datagram; those may be lost, so it goes out until something does."""
        while True:
            self.client.send_datagram(datagram)
            try:
                return list(await asyncio.wait_for(self.client.datagrams.get(), 0.05))
            except TimeoutError:
                continue

    def close(self, code: int, reason: str) -> None:
        """End the session."""
        value = code.to_bytes(4) + reason.encode()
        self.client.send_capsules(
            encode_uint_var(CLOSE_SESSION) + encode_uint_var(len(value)) + value, fin=True
        )

    async def closed(self) -> dict[str, Any] | None:
        """How the session was closed; None if it went without a word."""
        await self.client.capsules.ended.wait()
        capsules = Buffer(data=self.client.capsules.data)
        while not capsules.eof():
            kind, length = capsules.pull_uint_var(), capsules.pull_uint_var()
            value = capsules.pull_bytes(length)
            if kind == CLOSE_SESSION:
                return {"code": int.from_bytes(value[:4]), "reason": value[4:].decode()}
        return None

    async def _varint(self, stream: int) -> int:
        first = await self.client.take(stream, 1)
        rest = await self.client.take(stream, (1 << (first[0] >> 6)) - 1)
        return Buffer(data=first + rest).pull_uint_var()

    async def _json(self, stream: int) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.client.take(stream, await self._varint(stream)))
        return event


def _event_record(event: dict[str, Any]) -> bytes:
    payload = json.dumps(event).encode()
    return encode_uint_var(EVENT) + encode_uint_var(len(payload)) + payload


class Caller:
    """Makes each call over a connection of its own."""

    def __init__(self, url: str, certificate_pem: bytes, token: str, audio: bytes) -> None:
        self.url = urlsplit(url)
        self.certificate_pem = certificate_pem
        self.token = token
        self.audio = audio

    async def play_all(self, certificate_hash: bytes) -> dict[str, Any]:
        """Make all calls, the one last that waits for the end of the server; gives what each saw."""
        seen = {}
        for name in ("echo", "early", "wrong_version", "wrong_path", "drains"):
            async with (
                asyncio.timeout(CALL_SECONDS),
                aioquic_client(self.url.port or 443, self.certificate_pem) as client,
            ):
                assert client.certificate_hash() == certificate_hash
                seen[name] = await getattr(self, f"_{name}")(client)
        return seen

    async def _open(self, client: AioquicClient) -> None:
        assert (await client.request(self.url.path))[b":status"] == b"200"

    async def _echo(self, client: AioquicClient) -> dict[str, Any]:
        await self._open(client)
        call = Call(client, client="echo", token=self.token)
        welcome = await call.event()
        half = len(self.audio) // 4 * 2
        call.speak(self.audio[half:], half)
        call.speak(self.audio[:half])
        header = await call.reply()
        echoed = await call.listen(len(self.audio))
        ack = await call.heard("legato.audio_ack", offset=len(self.audio) // 2)
        beat = await call.beat(encode_uint_var(0) + encode_uint_var(300))
        call.close(17, "done here")
        await call.closed()
        return {"welcome": welcome, "header": header, "echoed": echoed, "ack": ack, "beat": beat}

    async def _early(self, client: AioquicClient) -> dict[str, Any]:
        answer = asyncio.ensure_future(client.request(self.url.path))
        await asyncio.sleep(0)
        call = Call(client, client="early", token=self.token)
        call.speak(self.audio)
        await call.reply()
        echoed = await call.listen(len(self.audio))
        assert (await answer)[b":status"] == b"200"
        call.say({"type": "legato.bye"})
        return {"echoed": echoed, "closed": await call.closed()}

    async def _wrong_version(self, client: AioquicClient) -> dict[str, Any] | None:
        await self._open(client)
        return await Call(client, version=99).closed()

    async def _wrong_path(self, client: AioquicClient) -> str:
        return "refused" if (await client.request("/elsewhere"))[b":status"] == b"404" else "not refused"

    async def _drains(self, client: AioquicClient) -> dict[str, Any]:
        await self._open(client)
        call = Call(client, client="drains", token=self.token)
        going_away = await call.heard("legato.going_away")
        call.speak(self.audio)
        await call.reply()
        echoed = await call.listen(len(self.audio))
        return {"in_ms": going_away["in_ms"], "echoed": echoed, "closed": await call.closed()}
