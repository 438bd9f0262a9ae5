"""The stock `@openai/agents-realtime` package, in Node, against `legato serve`: three scenes, no errors."""

import asyncio
import base64
import json
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from tests.interop.realtime.recording import LIMIT_S, Recording
from tests.interop.realtime.speech import BYTES_PER_MS, spoken
from tests.interop.realtime.stage import Stage

from legato.agents.base import ToolCall
from legato.testing.scripted_endpoint import Hold

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "js"
LONG = "One hundred and forty four. That is a gross. A dozen of dozens has been called so for a long time."


class Conversation(Recording):
    """What the program of `js/` sent and saw."""

    def __init__(self, seen: dict[str, Any]) -> None:
        super().__init__()
        self.seen = seen
        self.sent, self.events = seen["sent"], seen["events"]


def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.fail("Node.js 20 or newer is missing: run scripts/setup for how to get it")
    if not (FOLDER / "node_modules").is_dir():
        pytest.fail(f"Node packages are missing: run scripts/setup (or: npm ci --prefix {FOLDER})")
    return path


async def converse(stage: Stage, scene: str, *sentences: str) -> Conversation:
    """Let the program hold a conversation in which these sentences are said."""
    parameters = {
        "scene": scene,
        "url": stage.url.replace("https", "wss") + "/realtime",
        "key": stage.key,
        "questions": [base64.b64encode(spoken(sentence)).decode() for sentence in sentences],
    }
    process = await asyncio.create_subprocess_exec(
        *(node(), str(FOLDER / "converse.mjs")),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(stage.certificate)},
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            output, errors = await process.communicate(json.dumps(parameters).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode(errors="replace")
    conversation = Conversation(json.loads(output))
    conversation.check()
    assert not conversation.seen["errors"]
    return conversation


async def test_a_spoken_turn(server: Stage) -> None:
    server.script(["One hundred and forty four."])
    held = await converse(server, "spoken", "what is twelve times twelve")
    question, answer = held.seen["history"]
    assert question["content"][0]["transcript"] == "what is twelve times twelve"
    assert answer["content"][0]["transcript"] == "One hundred and forty four."
    assert b"".join(base64.b64decode(piece) for piece in held.seen["audio"]) == held.audio
    assert len(held.audio) > 1000 * BYTES_PER_MS
    assert "You sell eggs." in server.chats[0]["messages"][0]["content"]


async def test_a_tool(server: Stage) -> None:
    """The model asks, the package runs the function by itself, the model speaks of the result."""
    server.script([ToolCall("call_1", "get_weather", '{"city": "Riga"}')], ["It rains there."])
    held = await converse(server, "tool", "how is the weather")
    assert held.seen["protocol"] == "realtime"
    (output,) = (event["item"] for event in held.sent if event["type"] == "conversation.item.create")
    assert (output["type"], output["output"]) == ("function_call_output", "It rains in Riga.")
    assert server.chats[1]["messages"][-1]["content"] == "It rains in Riga."
    assert held.of("response.output_audio_transcript.done")[-1]["transcript"] == "It rains there."


async def test_an_interruption_by_hand(server: Stage) -> None:
    """The application stops an answer that is still being made."""
    hold = Hold()
    server.script([LONG + " ", hold, "And so on."])
    held = await converse(server, "stop", "what is twelve times twelve")
    server.model.release(hold)
    done = held.the("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    (asked,) = (event for event in held.sent if event["type"] == "conversation.item.truncate")
    assert held.the("conversation.item.truncated")["audio_end_ms"] == asked["audio_end_ms"]
    assert held.seen["interruptions"]


async def test_an_interruption(server: Stage) -> None:
    """The package counts what was heard by its clock; the server cuts there, and remembers just that."""
    server.script([LONG], ["Fine."])
    held = await converse(server, "interruption", "what is twelve times twelve", "stop it please")
    (asked,) = (event for event in held.sent if event["type"] == "conversation.item.truncate")
    cut = held.the("conversation.item.truncated")
    assert asked["item_id"] == cut["item_id"]
    assert asked["audio_end_ms"] == cut["audio_end_ms"]
    assert held.seen["interruptions"]
    kept = [event["item"] for event in held.of("conversation.item.retrieved")]
    (part,) = next(item["content"] for item in reversed(kept) if item["id"] == cut["item_id"])
    assert len(base64.b64decode(part["audio"] or "")) == cut["audio_end_ms"] * BYTES_PER_MS
    remembered = [one["content"] for one in server.chats[1]["messages"] if one["role"] == "assistant"]
    assert remembered == ([part["transcript"]] if part.get("transcript") else [])
    assert LONG.startswith(part.get("transcript") or "")
