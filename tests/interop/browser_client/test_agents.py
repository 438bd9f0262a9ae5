"""OpenAI's Agents SDK in Chromium, as its package is, over WebTransport to `legato serve`."""

import asyncio
import hashlib
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.interop.browser_client.playing import FOLDER, build, bundle, played
from tests.interop.realtime.speech import spoken
from tests.interop.realtime.stage import Stage, stage

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(150)]

SHORT = "One hundred and forty four."
LONG = "One hundred and forty four. That is a gross. A dozen of dozens has been called so for a long time."
QUESTIONS = ("what is twelve times twelve", "stop it please")


def _client_secret(server: Stage) -> str:
    """What an application's own server gives its pages."""
    request = urllib.request.Request(
        f"{server.url}/realtime/client_secrets",
        data=b"{}",
        headers={"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"},
    )
    trust = ssl.create_default_context(cafile=str(server.certificate))
    with urllib.request.urlopen(request, context=trust, timeout=20) as got:
        value: str = json.load(got)["value"]
    return value


async def _seen(folder: Path) -> dict[str, Any]:
    bundle(FOLDER / "agents.mjs", folder / "agents.mjs")
    for number, question in enumerate(QUESTIONS):
        (folder / f"{number}.pcm").write_bytes(spoken(question))
    with stage(folder / "state") as server:
        server.script([SHORT], [LONG], ["Fine."], [LONG])
        certificate = ssl.PEM_cert_to_DER_cert(server.certificate.read_text())
        parameters = {
            "url": f"https://127.0.0.1:{server.port}",
            "key": _client_secret(server),
            "certificateHash": hashlib.sha256(certificate).hexdigest(),
            "questions": [f"/made/{number}.pcm" for number in range(len(QUESTIONS))],
        }
        seen = await played("chromium", parameters, folder, ["made/agents"])
        return seen | {"chats": list(server.chats)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All conversations, held once."""
    build()
    return asyncio.run(_seen(tmp_path_factory.mktemp("agents")))


def _held(seen: dict[str, Any], name: str) -> dict[str, Any]:
    held: dict[str, Any] = seen[name]
    assert "failed" not in held, held["failed"]
    assert held["errors"] == []
    return held


def _of(held: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in held["events"] if event["type"] == kind]


def test_a_spoken_turn(seen: dict[str, Any]) -> None:
    held = _held(seen, "turn")
    assert held["transport"] == "webtransport"
    question, answer = held["history"]
    assert question["content"][0]["transcript"] == QUESTIONS[0]
    assert answer["content"][0]["transcript"] == SHORT
    assert held["itemId"] == answer["itemId"]
    assert held["audioMs"] == pytest.approx(held["heardMs"], abs=1), "what the package was given was played"
    assert held["heardMs"] > 1000
    assert held["status"] == "disconnected"
    assert "You sell eggs." in seen["chats"][0]["messages"][0]["content"]


def test_somebody_speaks_into_an_answer(seen: dict[str, Any]) -> None:
    """The package asks to cut where its clock is; the server cuts where the player was."""
    held = _held(seen, "bargeIn")
    assert held["transport"] == "webtransport"
    assert held["interruptions"] >= 1
    cut, *_ = _of(held, "conversation.item.truncated")
    assert cut["item_id"] == held["itemId"]
    assert cut["audio_end_ms"] == int(held["heardMs"])
    remembered = [one["content"] for one in seen["chats"][2]["messages"] if one["role"] == "assistant"]
    assert all(LONG.startswith(text) and text != LONG for text in remembered)


def test_an_application_stops_an_answer_that_has_arrived(seen: dict[str, Any]) -> None:
    held = _held(seen, "ownTransport")
    assert held["muted"] is True
    assert held["interruptions"] == 1
    assert held["audioMs"] == 0, "the call plays"
    (cut,) = _of(held, "conversation.item.truncated")
    assert cut["item_id"] == held["itemId"]
    assert cut["audio_end_ms"] == int(held["heardMs"])
