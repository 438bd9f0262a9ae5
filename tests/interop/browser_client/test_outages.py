"""Calls of the browser package whose network fails, in a real browser, against `legato serve`."""

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.interop.browser_client.playing import Deeds, build, played
from tests.interop.browser_client.shaky_path import ShakyPath, shaky_path
from tests.interop.serve_process import serve_process

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(150)]

SECONDS = 7
"""What every call says, at 16 kHz."""

BROWSERS = ("chromium",)
"""Firefox holds these calls as well; a second browser is left out for the time it takes."""

FLEET = {"LEGATO_RESUME__KEYS": json.dumps(["0123456789abcdef" * 3])}

CALLS = ("blackout", "killed", "cut", "blocked", "returning")


def _deeds(paths: dict[str, ShakyPath]) -> Deeds:
    loop = asyncio.get_running_loop()
    return {
        f"{name}/{deed}": partial(loop.call_soon_threadsafe, getattr(path, deed))
        for name, path in paths.items()
        for deed in ("silence", "restore", "kill", "block_udp", "free_udp")
    }


async def _seen(browser: str, folder: Path) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        # They share the state directory, and with that the certificate and the key of callers.
        state = folder / "state"
        server = await stack.enter_async_context(serve_process(state))
        doomed = await stack.enter_async_context(serve_process(state, **FLEET))
        heir = await stack.enter_async_context(serve_process(state, **FLEET))
        description = await server.description()
        made = {
            name: await stack.enter_async_context(shaky_path(("127.0.0.1", server.port))) for name in CALLS
        }
        path, _ = made["failover"] = await stack.enter_async_context(shaky_path(("127.0.0.1", doomed.port)))
        parameters = {
            "urls": {name: f"https://127.0.0.1:{port}" for name, (_, port) in made.items()},
            "token": server.key(),
            "certificateHash": description["certificate_hashes"][0]["value"],
            "seconds": SECONDS,
        }
        loop = asyncio.get_running_loop()

        def fail_over() -> None:
            doomed.kill()
            path.lead_to(("127.0.0.1", heir.port))

        deeds = dict(_deeds({name: made[name][0] for name in CALLS}))
        deeds["failover/fail_over"] = partial(loop.call_soon_threadsafe, fail_over)
        seen = await played(browser, parameters, folder, ["outages"], deeds)
        server.stop()
        await server.ended()
        begun = [line["client"] for line in server.log if "client" in line]
        return seen | {"begun": begun}


@pytest.fixture(scope="module", params=BROWSERS)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All calls, made at the same time."""
    build()
    return asyncio.run(_seen(request.param, tmp_path_factory.mktemp("outages")))


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest, seen: dict[str, Any]) -> dict[str, Any]:
    """What the page saw of one call."""
    saw: dict[str, Any] = seen[request.param]
    assert "failed" not in saw, saw["failed"]
    return saw


def test_nothing_is_lost_in_either_direction(call: dict[str, Any]) -> None:
    assert call["differsAt"] == -1, "every sample came back, in its place"
    assert call["statistics"]["capturedMs"] == SECONDS * 1000
    assert call["statistics"]["lostMs"] == 0
    assert call["errors"] == []


def test_the_reply_is_heard_to_its_end_as_one(call: dict[str, Any]) -> None:
    assert call["heardMs"] == call["wholeMs"]


def test_it_stays_one_call(call: dict[str, Any], seen: dict[str, Any]) -> None:
    assert sorted(seen["begun"]) == sorted(CALLS)
    assert all(how["continued"] for how in call["resumed"])


def test_a_page_sees_what_happens(seen: dict[str, Any]) -> None:
    for name in ("killed", "cut", "blocked"):
        assert len(seen[name]["resumed"]) == 1
        assert seen[name]["states"][-2:] == ["live", "ended"]
    assert seen["blackout"]["states"][:2] == ["live", "uncertain"]
    assert seen["killed"]["states"][:2] == ["live", "uncertain"]
    assert seen["cut"]["states"][:2] == ["live", "reconnecting"]


def test_what_was_said_while_nothing_passed_arrives_once(seen: dict[str, Any]) -> None:
    assert seen["blackout"]["changed"] == 1


def test_the_websocket_goes_on_where_udp_does_not(seen: dict[str, Any]) -> None:
    assert seen["blocked"]["statistics"]["transport"] == "websocket"
    assert seen["blocked"]["statistics"]["webtransportLost"]


def test_a_call_goes_back_to_webtransport(seen: dict[str, Any]) -> None:
    call = seen["returning"]
    assert [how["transport"] for how in call["resumed"]] == ["websocket", "webtransport"]
    assert call["states"][-2:] == ["live", "ended"]
    assert call["statistics"]["transport"] == "webtransport"
    assert call["statistics"]["retriesWebTransport"] is False


def test_another_server_goes_on_with_a_call(seen: dict[str, Any]) -> None:
    call = seen["failover"]
    assert "failed" not in call, call["failed"]
    (how,) = call["resumed"]
    assert (how["continued"], how["lostMs"]) == (True, 0)
    assert call["statistics"]["capturedMs"] == SECONDS * 1000
    assert call["errors"] == []
