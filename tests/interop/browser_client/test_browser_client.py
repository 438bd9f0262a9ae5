"""The browser package in Chromium and Firefox, as Debian ships them, against `legato serve`."""

import asyncio
import base64
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.interop.browser_client.playing import build, played
from tests.interop.driving import EXECUTABLES
from tests.interop.scenes import stage
from tests.interop.serve_process import ServeProcess, serve_process

from legato.server.certificates import make_development_identity

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(150)]

AUDIO = b"".join((index * 7919 % 65536).to_bytes(2, "little") for index in range(16_000))
"""A second at 16 kHz, no two samples alike."""

ENCODED = base64.b64encode(AUDIO).decode()
PCM = {"codec": "pcm16", "rate": 16_000, "channels": 1}


@dataclass
class Seen:
    """What the page saw in each call, and what the server told of them."""

    page: dict[str, Any]
    server: ServeProcess

    def call(self, name: str) -> Any:
        """What the page saw in a call that went as far as it should."""
        saw = self.page[name]
        assert "failed" not in saw, saw["failed"]
        return saw

    def calls_of(self, client: str) -> list[dict[str, Any]]:
        """How the calls of a page ended, as the server tells it."""
        begun = [line["call"] for line in self.server.log if line.items() >= {"client": client}.items()]
        ends = [line for line in self.server.log if line["event"] == "call ended"]
        return [line for line in ends if line["call"] in begun]


def _closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def _seen(browser: str, folder: Path) -> Seen:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        return await _seen_beside(silent.getsockname()[1], browser, folder)


async def _seen_beside(silent_port: int, browser: str, folder: Path) -> Seen:
    long_ago = make_development_identity(datetime.now(UTC) - timedelta(days=30))
    async with serve_process(folder / "state") as server, stage(long_ago) as expired:
        description = await server.description()
        parameters = {
            "url": description["webtransport_url"],
            "blackhole": f"https://127.0.0.1:{silent_port}",
            "nowhere": f"https://127.0.0.1:{_closed_port()}",
            "token": server.key(),
            "certificateHash": description["certificate_hashes"][0]["value"],
            "expired": {"url": expired.url, "certificateHash": long_ago.hash_base64},
            "audio": ENCODED,
        }
        page = await played(browser, parameters, folder, ["calls", "calls&strict", "failing"])
        server.stop()
        await server.ended()
        return Seen(page, server)


@pytest.fixture(scope="module")
def package() -> None:
    build()


@pytest.fixture(scope="module", params=EXECUTABLES)
def seen(request: pytest.FixtureRequest, package: None, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All calls, made once in each browser."""
    return asyncio.run(_seen(request.param, tmp_path_factory.mktemp("call")))


def test_every_sample_comes_back(seen: Seen) -> None:
    echo = seen.call("echo")
    assert echo["formats"] == [PCM, PCM]
    assert echo["audio"] == ENCODED
    assert echo["statistics"]["transport"] == "webtransport"


def test_a_reply_is_heard_to_its_last_sample_and_not_further(seen: Seen) -> None:
    echo = seen.call("echo")
    assert echo["heardMs"] == echo["wholeMs"] == 1000
    assert echo["speaker"] == {"who": "agent", "active": True}


def test_a_page_sees_how_the_network_does(seen: Seen) -> None:
    statistics = seen.call("echo")["statistics"]
    assert 0 < statistics["rttMs"] < 1000
    assert statistics["heartbeatsReturned"] >= 1
    assert (statistics["capturedMs"], statistics["ackedMs"]) == (1000, 1000)
    assert statistics["webtransportLost"] is None


def test_a_page_hangs_up(seen: Seen) -> None:
    echo = seen.call("echo")
    assert echo["states"] == ["live", "ended"]
    assert echo["ending"] == {"by": "local", "code": 0, "reason": "hung up", "unsentMs": 0}
    (end,) = seen.calls_of("echo")
    assert (end["by"], end["code"], end["reason"]) == ("peer", 0, "hung up")


def test_one_websocket_carries_the_same(seen: Seen) -> None:
    call = seen.call("websocket")
    assert call["audio"] == ENCODED
    assert call["heardMs"] == 1000
    assert call["statistics"]["transport"] == "websocket"
    assert call["state"] in ("stopped", "done")


def test_without_udp_a_call_begins_all_the_same(seen: Seen) -> None:
    call = seen.call("withoutUdp")
    assert call["statistics"]["transport"] == "websocket"
    assert call["statistics"]["webtransportLost"]
    assert call["readyMs"] >= 300, "WebTransport goes first"


def test_a_microphone_is_heard_through_opus(seen: Seen) -> None:
    talk = seen.call("talk")
    assert [form["codec"] for form in talk["formats"]] == ["opus", "opus"]
    assert (talk["track"], talk["trackAfterwards"]) == ("live", "ended")
    assert talk["playing"]["heardMs"] > 300
    played, device = talk["rates"]
    assert played == device, "Firefox removes the echo of nothing else"
    assert talk["formats"][1]["rate"] != device, "a reply at another rate is resampled"


def test_an_interruption_stops_at_what_was_heard(seen: Seen) -> None:
    talk = seen.call("talk")
    assert talk["interrupted"] == {"first": 1, "last": 1}
    assert talk["stopped"]["heardMs"] >= talk["playing"]["heardMs"]
    assert talk["stopped"]["bufferedMs"] == 0
    assert talk["stopped"]["itemId"] == talk["playing"]["itemId"]


def test_a_cough_ducks_a_reply_that_then_goes_on(seen: Seen) -> None:
    cough = seen.call("cough")
    held, resumed = cough["held"], cough["resumed"]
    assert (held["state"], resumed["state"]) == ("paused", "playing")
    assert held["generation"] == resumed["generation"]
    assert held["heardMs"] <= resumed["heardMs"] < held["heardMs"] + 150, "no sample of it is left out"
    assert 0 < cough["quietMs"] < 1000


def test_a_busy_page_is_not_heard(seen: Seen) -> None:
    assert seen.call("busy")["capturedMs"] >= 700


def test_what_was_said_by_hand_is_taken_whole(seen: Seen) -> None:
    commit = seen.call("commit")
    assert commit["audio"] == ENCODED
    assert commit["afterwards"]["code"] == "closed"


def test_a_wrong_key(seen: Seen) -> None:
    refused = seen.call("unauthorized")
    assert refused["error"]["code"] == "unauthorized"
    assert (refused["ending"]["by"], refused["ending"]["code"]) == ("peer", 5)


def test_no_key_to_be_had(seen: Seen) -> None:
    assert seen.call("noToken")["code"] == "unauthorized"
    assert "the token service is down" in seen.call("noToken")["message"]


def test_a_certificate_that_is_not_the_expected_one(seen: Seen) -> None:
    assert seen.call("foreignCertificate")["code"] == "unreachable"
    assert "its certificate is not the expected one" in seen.call("foreignCertificate")["message"]


def test_nobody_there(seen: Seen) -> None:
    assert seen.call("nobody")["code"] == "unreachable"
    assert "nothing listens there" in seen.call("nobody")["message"]


def test_no_microphone_leaves_the_call_alone(seen: Seen) -> None:
    assert seen.call("noMicrophone")["error"]["code"] == "no-microphone"
    assert seen.call("noMicrophone")["state"] == "live"


def test_mistakes_are_told_at_once(seen: Seen) -> None:
    assert seen.call("mistakes") == ["bad-address", "bad-address", "misuse", "misuse"]


def test_a_strict_page_takes_the_code_from_files(seen: Seen) -> None:
    assert seen.call("strictWithFiles") == {"audio": ENCODED}
    assert seen.call("strictWithout")["code"] == "unsupported-browser"
    assert "Content-Security-Policy" in seen.call("strictWithout")["message"]


def test_a_browser_without_webtransport_takes_the_websocket(seen: Seen) -> None:
    call = seen.call("noWebTransport")
    assert call == {"transport": "websocket", "webtransportLost": "this browser has no WebTransport"}


def test_a_browser_without_codecs_sends_samples_as_they_are(seen: Seen) -> None:
    assert seen.call("noWebCodecs") == {"inputCodec": "pcm16", "outputCodec": "pcm16"}


@pytest.mark.parametrize(
    ("missing", "words"),
    [("noAudioWorklet", "no AudioWorklet"), ("noWebAudio", "no Web Audio"), ("noWorkers", "no workers")],
)
def test_a_browser_that_cannot_call_is_told_so_at_once(seen: Seen, missing: str, words: str) -> None:
    refused = seen.call(missing)
    assert refused["code"] == "unsupported-browser"
    assert words in refused["message"]


def test_a_pinned_certificate_that_has_changed(seen: Seen) -> None:
    refused = seen.call("changedCertificate")
    assert refused["code"] == "certificate"
    assert "Reload the page" in refused["message"]


def test_a_pinned_certificate_that_has_expired(seen: Seen) -> None:
    refused = seen.call("expiredCertificate")
    assert refused["code"] == "unreachable"
    assert "or has expired" in refused["message"]


def test_a_microphone_that_is_pulled_out_leaves_the_call_alone(seen: Seen) -> None:
    unplugged = seen.call("unplugged")
    assert unplugged["error"]["code"] == "microphone-lost"
    assert unplugged["microphone"] == {"active": False, "muted": False, "label": ""}
    assert unplugged["state"] in ("live", "uncertain")


def test_a_microphone_that_the_system_mutes_is_told(seen: Seen) -> None:
    muted, unmuted = seen.call("unplugged")["mutes"]
    assert muted == {"active": False, "muted": True}
    assert unmuted == {"active": True, "muted": False}


def test_a_reply_waits_while_the_sound_is_taken_away(seen: Seen) -> None:
    call = seen.call("interrupted")
    assert (call["blocked"], call["freed"]) == (True, True)
    assert 200 < call["heldMs"] < call["heardMs"] == 1000
