"""Scenes about sessions: what they may be, who may have one, and who may watch."""

from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.interop.realtime.calling import TEXT, ask, calling, scripted
from tests.interop.realtime.recording import Recording, Tapped
from tests.interop.realtime.scenes_items import WEATHER
from tests.interop.realtime.speech import alike, resampled, spoken
from tests.interop.realtime.stage import Stage
from websockets.exceptions import InvalidStatus

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat
from legato.testing.realtime import check_server_events
from legato.testing.scripted_endpoint import MS_PER_CHARACTER, Refuse

QUESTION = "what is three plus four"


async def settings(stage: Stage) -> Recording:
    """All that can be set is shown as it was set; what was not named stays; null clears."""
    asked = {
        "instructions": "Be brief.",
        "output_modalities": ["text"],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "parallel_tool_calls": False,
        "max_output_tokens": 300,
        "reasoning": {"effort": "low"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
        "tracing": {"workflow_name": "eggs"},
        "include": ["item.input_audio_transcription.logprobs"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcma"},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "any", "language": "en", "prompt": "eggs"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
            },
            "output": {"format": {"type": "audio/pcma"}, "voice": "slt", "speed": 1.25},
        },
    }
    async with calling(stage, asked) as talk:
        await talk.connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"turn_detection": None, "noise_reduction": None}},
            }
        )
        await talk.until("session.updated")
    before, after = (event["session"] for event in talk.of("session.updated"))
    assert_within(asked, before)
    assert (after["audio"]["input"]["turn_detection"], after["audio"]["input"]["noise_reduction"]) == (
        None,
        None,
    )
    asked["audio"]["input"] |= {"turn_detection": None, "noise_reduction": None}
    assert_within(asked, after)
    talk.check()
    return talk


def assert_within(part: dict[str, Any], whole: dict[str, Any], path: str = "session") -> None:
    """Every member of `part` is in `whole`, however deep."""
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(whole[name], dict):
            assert_within(value, whole[name], f"{path}.{name}")
        else:
            assert whole[name] == value, f"{path}.{name}"


async def transcription(stage: Stage) -> Recording:
    """A session that only listens."""
    async with (
        AsyncOpenAI(base_url=stage.url) as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        talk = Tapped(connection)
        created = await talk.until("session.created")
        await connection.session.update(
            session={"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}
        )
        await talk.until("session.updated")
        await talk.append(spoken(QUESTION))
        done = await talk.until("conversation.item.input_audio_transcription.completed")
        await connection.response.create(event_id="mine")
        refused = await talk.until("error")
    assert created.session.type == "transcription"
    assert done.transcript == QUESTION
    assert done.usage.type == "duration"
    assert 1 < done.usage.seconds < 5
    assert refused.error.event_id == "mine"
    assert not talk.of("conversation.created")
    talk.check(errors=1)
    return talk


async def unheard(_: Stage) -> Recording:
    """The recognition fails: the item says so, and the session lives on."""
    async with scripted() as (endpoint, stage), calling(stage) as talk:
        endpoint.transcripts.append(Refuse(400))
        await talk.append(spoken(QUESTION))
        failed = await talk.until("conversation.item.input_audio_transcription.failed")
        await talk.until("response.done")
        answer = await ask(talk, "are you there", {"output_modalities": ["text"]})
    assert failed.item_id == talk.the("input_audio_buffer.committed")["item_id"]
    assert failed.error.message
    assert "127.0.0.1" not in str(talk.events), "where the endpoints are is nobody's business"
    assert answer.status == "completed"
    talk.check()
    return talk


async def telephone(_: Stage) -> Recording:
    """G.711 both ways: what is recognised is what was said, and the answer comes as long as it was spoken."""
    encoder = codec_for(AudioFormat("pcmu", 8000)).encoder()
    form = {"format": {"type": "audio/pcmu"}}
    async with (
        scripted() as (endpoint, stage),
        calling(stage, {"audio": {"input": form, "output": form}}) as talk,
    ):
        endpoint.answers.append(["Seven is it."])
        await talk.append(b"".join(encoder.encode(resampled(spoken(QUESTION), 8000))), 1600)
        answer = (await talk.until("response.done")).response
    assert alike(endpoint.heard[0], resampled(spoken(QUESTION), 16_000)) > 0.95
    assert answer.output[0].content[0].transcript == "Seven is it."
    assert len(talk.audio) / 8 == len(endpoint.spoken[0]) * MS_PER_CHARACTER
    talk.check()
    return talk


async def secret(stage: Stage) -> Recording:
    """A client secret, made by the package and used by another client: its session, and what it allows."""
    stage.script(["Size nine."])
    async with AsyncOpenAI(base_url=stage.url) as shop:
        made = await shop.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "instructions": "You sell shoes.", "output_modalities": ["text"]},
            extra_body={"allowed_client_events": ["conversation.item.create", "response.create"]},
        )
    async with (
        AsyncOpenAI(base_url=stage.url, api_key=made.value) as guest,
        guest.realtime.connect(model="legato") as connection,
    ):
        talk = Tapped(connection)
        created = await talk.until("session.created")
        await connection.session.update(session={"type": "realtime", "instructions": "Give all away."})
        refused = await talk.until("error")
        answer = await ask(talk, "which size")
    assert made.value.startswith("ek_")
    assert made.session.instructions == created.session.instructions == "You sell shoes."
    assert refused.error.code == "event_not_allowed"
    assert answer.output[0].content[0].text == "Size nine."
    assert "You sell shoes." in stage.chats[0]["messages"][0]["content"]
    talk.check(errors=1)
    return talk


async def sideband(stage: Stage) -> Recording:
    """A second connection to a call sees it, and steers it."""
    stage.script(["Aye."])
    async with calling(stage, TEXT) as talk, AsyncOpenAI(base_url=stage.url) as client:
        call = talk.the("session.created")["session"]["id"]
        async with client.realtime.connect(call_id=call) as connection:
            watch = Tapped(connection)
            await connection.session.update(
                session={"type": "realtime", "instructions": "Talk like a pirate."}
            )
            await watch.until("session.updated")
            await talk.until("session.updated")
            answer = await ask(talk, "shall we sail")
            seen = (await watch.until("response.done")).response
    assert seen.id == answer.id
    assert "Talk like a pirate." in stage.chats[0]["messages"][0]["content"]
    check_server_events(watch.events, from_start=False)
    watched = [event["type"] for event in watch.events]
    assert watched[-3:] == [event["type"] for event in talk.events][-3:]
    talk.check()
    return talk


async def stranger(stage: Stage) -> Recording:
    """Without a key nobody is let in; what is told says why."""
    async with AsyncOpenAI(base_url=stage.url, api_key="sk-mistaken") as client:
        with pytest.raises(InvalidStatus) as refused:
            await client.realtime.connect(model="legato").enter()
    assert refused.value.response.status_code == 401
    assert b'"invalid_api_key"' in refused.value.response.body
    return Recording()


SESSIONS = (settings, transcription, unheard, telephone, secret, sideband, stranger)
