"""What the page says when something goes wrong around a call, in Chromium and Firefox."""

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.interop.driving import EXECUTABLES, driver, node, program
from tests.interop.page.room import room
from tests.interop.serve_process import ServeProcess, serve_process

from legato.bench.processes import temporary_identity

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

FOLDER = Path(__file__).parent
LIMIT_SECONDS = 240.0
WINDOW = {"LEGATO_RESUME__SECONDS": "3"}
"""How long a server waits for a lost caller, and a caller for a lost server."""


@asynccontextmanager
async def _proxy() -> AsyncIterator[int]:
    """A proxy for TLS to this machine (RFC 9110, 9.3.6), and nothing else."""
    tasks: set[asyncio.Task[Any]] = set()

    async def pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            method, target = (await reader.readuntil(b"\r\n\r\n")).split()[:2]
            host, _, port = target.decode().rpartition(":")
            if method != b"CONNECT" or host not in ("localhost", "127.0.0.1"):
                writer.close()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _troubles(browser: str, server: ServeProcess, proxy: int, folder: Path) -> dict[str, Any]:
    parameters = {"url": f"https://localhost:{server.port}/", "proxy": proxy}
    with room(folder) as sound:
        command = (str(FOLDER / "troubles.mjs"), browser, program(browser), json.dumps(parameters))
        run = (node(FOLDER.parent / "browsers"), *command)
        async with driver(run, DEVNULL, os.environ | sound) as process, asyncio.timeout(LIMIT_SECONDS):
            assert process.stdout is not None
            async for line in process.stdout:
                told: dict[str, Any] = json.loads(line)
                if "kill" not in told:
                    return told
                server.kill()
    pytest.fail(f"driving {browser} failed")


async def _seen(folder: Path) -> dict[str, dict[str, Any]]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(_proxy())
        # A certificate of an operator's own making, as that of `legato demo`.
        own = stack.enter_context(temporary_identity())
        settings = WINDOW | {"LEGATO_TLS__CERT": str(own.certificate), "LEGATO_TLS__KEY": str(own.key)}
        # One is killed.
        servers = [
            await stack.enter_async_context(serve_process(folder / f"state-{name}", **settings))
            for name in EXECUTABLES
        ]
        each = zip(EXECUTABLES, servers, strict=True)
        runs = [_troubles(browser, server, proxy, folder / browser) for browser, server in each]
        return dict(zip(EXECUTABLES, await asyncio.gather(*runs), strict=True))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return asyncio.run(_seen(tmp_path_factory.mktemp("troubles")))


def _shown(both: dict[str, dict[str, Any]], browser: str, trouble: str) -> dict[str, Any]:
    shown: dict[str, Any] = both[browser][trouble]
    assert "failed" not in shown, shown["failed"]
    return shown


@pytest.fixture(params=EXECUTABLES)
def browser(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


Both = dict[str, dict[str, Any]]


def test_who_said_no_may_type(both: Both, browser: str) -> None:
    shown = _shown(both, browser, "hindered")
    assert (shown["state"], shown["notice"]) == ("live", "The microphone is not allowed")
    assert (shown["action"], shown["typing"]) == ("Try the microphone again", True)


def test_who_has_no_microphone_may_type(both: Both) -> None:
    shown = _shown(both, "chromium", "noMicrophone")
    assert (shown["state"], shown["notice"]) == ("live", "There is no microphone")
    assert shown["typing"] is True


def test_behind_a_proxy_the_websocket_carries_the_call(both: Both) -> None:
    shown = _shown(both, "chromium", "hindered")
    assert shown["transport"] == "WebSocket"
    assert shown["why"].startswith("UDP did not get through (")


def test_an_old_browser_calls_as_well_as_it_can(both: Both) -> None:
    shown = _shown(both, "firefox", "hindered")
    assert shown["transport"] == "WebSocket"
    assert shown["why"].startswith("This browser has no WebTransport: ")
    assert "does not encode Opus" in shown["why"]


def test_a_browser_of_another_age_is_told_so(both: Both, browser: str) -> None:
    shown = _shown(both, browser, "noAudioWorklet")
    assert (shown["state"], shown["notice"]) == ("idle", "This browser is too old for calls")


def test_a_tab_that_was_hidden_goes_on(both: Both, browser: str) -> None:
    hidden = _shown(both, browser, "hidden")
    assert hidden["away"] == "hidden"
    assert (hidden["back"]["state"], hidden["back"]["notice"]) == ("live", None)


def test_a_certificate_of_ones_own_is_pinned(both: Both, browser: str) -> None:
    assert _shown(both, browser, "hidden")["back"]["transport"] == "WebTransport"


def test_a_touch_gives_the_sound_back(both: Both, browser: str) -> None:
    interrupted = _shown(both, browser, "interrupted")
    assert interrupted["taken"]["notice"] == "The browser holds the sound back"
    assert (interrupted["given"]["state"], interrupted["given"]["notice"]) == ("live", None)


def test_a_microphone_may_be_pulled_out_and_plugged_in_again(both: Both, browser: str) -> None:
    unplugged = _shown(both, browser, "unplugged")
    assert unplugged["lost"]["state"] == "live"
    assert unplugged["lost"]["notice"] == "The microphone is gone"
    assert unplugged["lost"]["typing"] is True
    assert (unplugged["found"]["notice"], unplugged["found"]["typing"]) == (None, False)


def test_a_server_that_is_gone_is_waited_for_and_then_given_up(both: Both) -> None:
    gone = _shown(both, "chromium", "serverGone")
    assert (gone["waiting"]["state"], gone["waiting"]["notice"]) == ("reconnecting", "Reconnecting")
    assert (gone["over"]["notice"], gone["over"]["action"]) == ("The connection was lost", "Call again")
    assert gone["again"]["action"] == "Call again"
