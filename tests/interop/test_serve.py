"""`legato serve` as people start it, called by clients that share no code with it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.interop.aioquic_calls import Caller
from tests.interop.browser import played
from tests.interop.serve_process import DRAIN_SECONDS, ServeProcess, serve_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(55)]

AUDIO = b"".join((index * 7919 % 65536).to_bytes(2, "little") for index in range(4100))
"""A quarter of a second at 16 kHz, no two samples alike; the last record of each half is a short one."""

ENCODED = base64.b64encode(AUDIO).decode()

PCM = {"codec": "pcm16", "rate": 16_000, "channels": 1}


@dataclass
class Calls:
    """What a client saw in each call, and what the server showed of itself."""

    peer: str
    client: dict[str, Any]
    description: dict[str, Any]
    log: list[dict[str, Any]]
    exit_status: int

    def logged(self, **fields: object) -> dict[str, Any]:
        """The only line of the log with these fields."""
        (line,) = [line for line in self.log if line.items() >= fields.items()]
        return line

    def end_of(self, name: str) -> tuple[str, int, str]:
        """By whom, with which code and why a call ended, as the server tells it."""
        call = self.logged(event="call started", client=name)["call"]
        line = self.logged(event="call ended", call=call)
        return line["by"], line["code"], line["reason"]


@asynccontextmanager
async def _called(peer: str, server: ServeProcess, url: str, digest: bytes) -> AsyncIterator[dict[str, Any]]:
    """Let a client make all its calls; it stays alive as long as the context."""
    if peer == "aioquic":
        yield await Caller(url, server.certificate_pem(), server.key(), AUDIO).play_all(digest)
    else:
        parameters = {"url": url, "certificateHash": list(digest), "token": server.key(), "audio": ENCODED}
        async with played(peer, "calls.mjs", parameters) as seen:
            yield seen


async def _stop_during_a_call(server: ServeProcess) -> None:
    await server.logged(event="call started", client="drains")
    server.stop()


async def _calls(peer: str, state: Path) -> Calls:
    async with serve_process(state) as server:
        description = await server.description()
        (pinned,) = description["certificate_hashes"]
        digest = base64.b64decode(pinned["value"])
        stopping = asyncio.create_task(_stop_during_a_call(server))
        async with _called(peer, server, description["webtransport_url"], digest) as seen:
            # A client that did not come to its last call shows in the tests.
            stopping.cancel()
            await asyncio.wait([stopping])
            server.stop()
            status = await server.ended()
        return Calls(peer, seen, description, server.log, status)


@pytest.fixture(
    scope="module",
    params=[
        "aioquic",
        pytest.param("chromium", marks=pytest.mark.browser),
        pytest.param("firefox", marks=pytest.mark.browser),
    ],
)
def calls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """All calls, made once by each client."""
    return asyncio.run(_calls(request.param, tmp_path_factory.mktemp("state")))


def test_the_document_says_how_to_connect(calls: Calls) -> None:
    url = calls.description["webtransport_url"]
    assert url.startswith("https://localhost:")
    assert url.endswith(calls.description["path"])
    assert calls.description["protocol_versions"] == [1]
    assert calls.description["certificate_hashes"][0]["algorithm"] == "sha-256"


def test_hello_is_answered_by_a_welcome(calls: Calls) -> None:
    welcome = calls.client["echo"]["welcome"]
    assert welcome["type"] == "legato.welcome"
    assert (welcome["input"], welcome["output"]) == (PCM, PCM)
    assert (welcome["profile"], welcome["resumed"], welcome["uplink_offset"]) == ("turn", False, 0)
    assert welcome["session_id"] == calls.logged(event="call started", client="echo")["call"]


def test_every_sample_comes_back_in_order(calls: Calls) -> None:
    """Although the second half was sent first, on a stream of its own."""
    assert calls.client["echo"]["echoed"] == ENCODED
    header = calls.client["echo"]["header"]
    assert (header["generation"], header["content_index"], header["format"]) == (1, 0, PCM)


def test_audio_is_acknowledged(calls: Calls) -> None:
    assert calls.client["echo"]["ack"]["offset"] == len(AUDIO) // 2


def test_a_heartbeat_is_echoed(calls: Calls) -> None:
    assert bytes(calls.client["echo"]["beat"]) == b"\x01\x41\x2c"


def test_the_client_ends_the_session(calls: Calls) -> None:
    assert calls.end_of("echo") == ("peer", 17, "done here")


def test_a_call_may_begin_in_the_first_flight(calls: Calls) -> None:
    assert calls.client["early"]["echoed"] == ENCODED


def test_the_server_ends_the_session_after_bye(calls: Calls) -> None:
    assert calls.client["early"]["closed"]["code"] == 0
    assert calls.end_of("early")[:2] == ("peer", 0)


def test_a_version_that_is_not_spoken(calls: Calls) -> None:
    closed = calls.client["wrong_version"]
    assert closed["code"] == 3
    assert "version" in closed["reason"]
    line = calls.logged(event="session ended at the door", code=3)
    assert (line["level"], line["reason"]) == ("warning", closed["reason"])


def test_a_path_that_is_not_there(calls: Calls) -> None:
    assert calls.client["wrong_path"] == "refused"


def test_a_call_goes_on_while_the_server_drains(calls: Calls) -> None:
    assert calls.client["drains"]["in_ms"] == DRAIN_SECONDS * 1000
    assert calls.client["drains"]["echoed"] == ENCODED
    assert calls.logged(event="draining")["calls"] == 1


def test_a_server_that_stops_goes_away(calls: Calls) -> None:
    by, code, reason = calls.end_of("drains")
    assert (by, code) == ("local", 1)
    assert reason
    assert calls.client["drains"]["closed"] == {"code": code, "reason": reason}
    assert calls.exit_status == 0


def test_the_server_has_no_other_trouble(calls: Calls) -> None:
    troubles = [line for line in calls.log if line["level"] not in ("debug", "info")]
    assert sorted(line["event"] for line in troubles) == ["call ended", "session ended at the door"], (
        "one with a code of the client's own, one with a version that is not spoken"
    )
