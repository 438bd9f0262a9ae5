"""The page that `legato serve` shows, in Chromium and Firefox: talked to, and heard at the loudspeaker."""

import asyncio
import json
import os
import socket
import subprocess
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.interop.driving import EXECUTABLES, driver, node, program
from tests.interop.page.room import needed, room
from tests.interop.serve_process import serve_process

from legato.server.page_files import PAGE_FOLDER

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(500)]

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "clients" / "page"
AXE = PAGE / "node_modules" / "axe-core" / "axe.min.js"
LIMIT_SECONDS = 240.0
STORY = "tell me a long story"
QUESTION = "what is seven plus five"

LOUD = 500
"""Of 32768: speech is above, everything else below."""


@asynccontextmanager
async def _without_udp(port: int) -> AsyncIterator[int]:
    """Another port of 127.0.0.1 that leads to the server's TCP port, and for UDP nowhere."""
    writers: set[asyncio.StreamWriter] = set()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def relay(here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_connection("127.0.0.1", port)
        writers.update((back, forth))
        await asyncio.gather(carry(here, forth), carry(there, back))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        relaying = await asyncio.start_server(relay, "127.0.0.1", silent.getsockname()[1])
        try:
            yield silent.getsockname()[1]
        finally:
            relaying.close()
            for writer in writers:
                writer.close()


def _spoken(words: str, file: Path) -> Path:
    """A WAV file of these words, with the moment of silence in which a turn ends."""
    subprocess.run([needed("flite"), "-voice", "rms", "-t", words, "-o", file], check=True, timeout=20)
    return file


async def _conversation(browser: str, parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What was seen; a browser that stood still on a starved machine is started once more."""
    seen = await _attempt(browser, parameters, folder / "first")
    return await _attempt(browser, parameters, folder / "second") if "failed" in seen else seen


async def _attempt(browser: str, parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    folder.parent.mkdir(exist_ok=True)
    with room(folder) as sound:
        # Only one of the browsers looks at what does not depend on it.
        own = parameters | {"axe": str(AXE) if browser == "chromium" else None}
        command = (str(FOLDER / "converse.mjs"), browser, program(browser), json.dumps(own))
        run = (node(PAGE, FOLDER.parent / "browsers"), *command)
        async with driver(run, DEVNULL, os.environ | sound) as process, asyncio.timeout(LIMIT_SECONDS):
            seen, errors = await process.communicate()
    assert seen, f"driving {browser} failed:\n{errors.decode(errors='replace')}"
    result: dict[str, Any] = json.loads(seen)
    return result


async def _conversations(folder: Path) -> dict[str, dict[str, Any]]:
    """What was seen in each browser; both talk to one server at once."""
    async with (
        serve_process(folder / "state", "assistant") as server,
        _without_udp(server.port) as blocked,
    ):
        parameters = {
            "url": f"https://localhost:{server.port}/",
            "withoutUdp": f"https://127.0.0.1:{blocked}/",
            "key": server.key(),
            "story": str(_spoken(STORY, folder / "story.wav")),
            "question": str(_spoken(QUESTION, folder / "question.wav")),
        }
        both = (_conversation(browser, parameters, folder / browser) for browser in EXECUTABLES)
        return dict(zip(EXECUTABLES, await asyncio.gather(*both), strict=True))


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    assert (PAGE_FOLDER / "index.html").is_file(), "the page is not built: run scripts/setup"
    return asyncio.run(_conversations(tmp_path_factory.mktemp("page")))


@pytest.fixture(params=EXECUTABLES)
def seen(request: pytest.FixtureRequest, conversations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was seen in one browser."""
    found = conversations[request.param]
    assert "failed" not in found, f"{found['failed']}\nso far: {found}"
    return found


def test_the_page_is_quiet_until_somebody_talks(seen: dict[str, Any]) -> None:
    assert seen["idle"]["status"] == "Ready"
    assert seen["idle"]["silence"] < LOUD


def test_an_answer_is_shown_and_comes_out_of_the_loudspeaker(seen: dict[str, Any]) -> None:
    answering = seen["answering"]
    assert answering["loudness"] > LOUD
    told = answering["turns"][-1]
    assert any("story" in turn["heard"] for turn in answering["turns"] if turn["who"] == "person")
    assert told["heard"].startswith("Once")
    assert len(told["unheard"]) > 0, "delivery runs ahead of the voice, and the page tells the two apart"


def test_an_interruption_silences_it_and_shows_what_was_never_heard(seen: dict[str, Any]) -> None:
    turns = [turn for turn in seen["end"]["turns"] if turn["who"] == "agent"]
    states = [turn["state"] for turn in turns]
    last = len(states) - 1 - states[::-1].index("interrupted")
    assert turns[last]["heard"].startswith("Once upon")
    assert turns[last]["unheard"], "what was sent and not heard is told apart"
    answer = next(turn for turn in turns[last:] if turn["state"] == "done")
    assert answer["heard"]
    assert answer["unheard"] == ""


def test_the_page_says_what_the_network_does(seen: dict[str, Any]) -> None:
    assert seen["end"]["transport"] == "WebTransport"
    assert seen["end"]["rtt"].endswith(" ms")
    assert seen["end"]["label"].startswith("Timeline: ")


def test_a_held_network_is_told_and_the_call_goes_on_after_it(seen: dict[str, Any]) -> None:
    assert seen["held"]["notice"] in ("The network is silent", "Reconnecting")
    assert seen["resumed"]["turns"] >= len(seen["end"]["turns"])
    assert seen["resumed"]["notice"] is True
    assert seen["returned"] is True, "it is on WebTransport again, and has nothing to explain"


def test_a_key_mutes_and_a_click_hangs_up(seen: dict[str, Any]) -> None:
    assert seen["muted"] == "true"
    assert seen["over"] == {"label": "Talk", "status": "Ready"}


def test_without_udp_the_call_goes_over_a_websocket(seen: dict[str, Any]) -> None:
    call = seen["withoutUdp"]
    assert call["transport"] == "WebSocket"
    assert call["why"].startswith("UDP did not get through (")
    # Usually about half a second after the click; `make bench-browser` holds it to one.
    assert call["readyMs"] < 10_000


def test_nothing_went_wrong_behind_the_scenes(seen: dict[str, Any]) -> None:
    # Browsers tell of each attempt that lost its race, or that the page gave up.
    refused = ("ERR_QUIC", "WebTransport", "Opening handshake failed", "wss://")
    assert [problem for problem in seen["problems"] if not any(word in problem for word in refused)] == []


def test_nobody_stumbles_over_the_page(conversations: dict[str, dict[str, Any]]) -> None:
    seen = conversations["chromium"]
    assert (seen["idle"]["violations"], seen["end"]["violations"]) == ([], [])


def test_a_wrong_key_is_asked_for_again(conversations: dict[str, dict[str, Any]]) -> None:
    seen = conversations["chromium"]
    assert seen["wrongKey"] == {"notice": "A key is needed", "action": "Enter a key"}
    assert seen["rightKey"] == {"notice": True}


def test_who_may_not_speak_types(conversations: dict[str, dict[str, Any]]) -> None:
    seen = conversations["chromium"]
    assert seen["denied"]["notice"] == "The microphone is not allowed"
    assert "type" in seen["denied"]["help"]
    assert [(turn["who"], turn["heard"]) for turn in seen["typed"]] == [
        ("person", "what is seven plus five"),
        ("agent", "That is 12."),
    ]
