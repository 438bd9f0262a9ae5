"""Scenes in which somebody has a turn: written, spoken, committed by hand, cut off."""

import numpy as np
from tests.interop.realtime.calling import TEXT, ask, calling, message
from tests.interop.realtime.recording import Recording
from tests.interop.realtime.speech import BYTES_PER_MS, milliseconds, silence, spoken
from tests.interop.realtime.stage import Stage

from legato.testing.scripted_endpoint import Finish, Hold

QUESTION = "what is twelve times twelve"
LONG = "One hundred and forty four. That is a gross. A dozen of dozens has been called so for a long time."


async def text_turn(stage: Stage) -> Recording:
    stage.script(["That is ", "a gross."])
    async with calling(stage, TEXT | {"instructions": "You sell eggs."}) as talk:
        answer = await ask(talk, "how much is a dozen dozens")
    assert answer.status == "completed"
    assert answer.output[0].content[0].text == "That is a gross."
    assert talk.joined("response.output_text.delta") == "That is a gross."
    told = talk.the("session.updated")["session"]
    assert (told["instructions"], told["output_modalities"]) == ("You sell eggs.", ["text"])
    system, question = stage.chats[0]["messages"]
    assert (system["role"], question["content"]) == ("system", "how much is a dozen dozens")
    assert "You sell eggs." in system["content"]
    talk.check()
    return talk


async def spoken_turn(stage: Stage) -> Recording:
    """Nothing but audio goes in: the server finds the turn."""
    stage.script(["One hundred and forty four."])
    async with calling(stage) as talk:
        question = spoken(QUESTION)
        await talk.append(question)
        answer = (await talk.until("response.done")).response
    assert answer.output[0].content[0].transcript == "One hundred and forty four."
    heard = talk.the("conversation.item.input_audio_transcription.completed")["transcript"]
    assert heard == QUESTION
    assert talk.joined("conversation.item.input_audio_transcription.delta") == heard
    started, stopped = (
        talk.the("input_audio_buffer.speech_started"),
        talk.the("input_audio_buffer.speech_stopped"),
    )
    assert started["audio_start_ms"] < 500 < stopped["audio_end_ms"] <= milliseconds(question)
    assert 1000 < milliseconds(talk.audio) < 5000
    assert np.abs(np.frombuffer(talk.audio, np.int16)).max() > 1000
    assert stage.chats[0]["messages"][-1] == {"role": "user", "content": QUESTION}
    talk.check()
    return talk


async def thoughtful_turn(stage: Stage) -> Recording:
    """A turn ends when the words sound complete."""
    stage.script(["One hundred and forty four."])
    detection = {"type": "semantic_vad", "eagerness": "high"}
    async with calling(stage, {"audio": {"input": {"turn_detection": detection}}}) as talk:
        await talk.append(spoken(QUESTION, after_ms=5000))
        await talk.until("response.done")
    assert talk.the("conversation.item.input_audio_transcription.completed")["transcript"] == QUESTION
    assert stage.chats[0]["messages"][-1]["content"] == QUESTION
    talk.check()
    return talk


async def manual_turn(stage: Stage) -> Recording:
    """Push to talk: what was cleared is never heard, what is committed is."""
    stage.script(["Hello to you."])
    async with calling(stage, {"audio": {"input": {"turn_detection": None}}}) as talk:
        await talk.append(spoken("never mind that"))
        await talk.connection.input_audio_buffer.clear()
        await talk.until("input_audio_buffer.cleared")
        await talk.append(spoken(QUESTION))
        await talk.connection.input_audio_buffer.commit()
        committed = await talk.until("input_audio_buffer.committed")
        await talk.connection.response.create()
        await talk.until("response.done")
        await talk.connection.conversation.item.retrieve(item_id=committed.item_id)
        kept = (await talk.until("conversation.item.retrieved")).item
    assert talk.the("conversation.item.input_audio_transcription.completed")["transcript"] == QUESTION
    assert not talk.of("input_audio_buffer.speech_started")
    assert stage.chats[0]["messages"][-1]["content"] == QUESTION
    assert kept.content[0].transcript == QUESTION
    talk.check()
    return talk


async def cancelled_turn(stage: Stage) -> Recording:
    hold = Hold()
    stage.script(["I would say ", hold, "too much."], ["Go on."])
    async with calling(stage, TEXT) as talk:
        await talk.connection.conversation.item.create(item=message("tell me everything"))
        await talk.connection.response.create()
        await talk.until("response.output_text.delta")
        await talk.connection.response.cancel()
        cut = (await talk.until("response.done")).response
        stage.model.release(hold)
        answer = await ask(talk, "go on")
    assert (cut.status, cut.status_details.reason) == ("cancelled", "client_cancelled")
    assert (cut.output[0].status, cut.output[0].content[0].text) == ("incomplete", "I would say ")
    assert answer.output[0].content[0].text == "Go on."
    talk.check()
    return talk


async def truncated_turn(stage: Stage) -> Recording:
    """The caller heard 900 ms of the answer: audio and words beyond are gone, for the model too."""
    stage.script([LONG], ["Yes."])
    heard_ms = 900
    async with calling(stage) as talk:
        answer = await ask(talk, "how much is twelve times twelve")
        item = answer.output[0]
        await talk.connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=heard_ms
        )
        cut = await talk.until("conversation.item.truncated")
        await talk.connection.conversation.item.retrieve(item_id=item.id)
        await talk.until("conversation.item.retrieved")
        await ask(talk, "are you sure", {"output_modalities": ["text"]})
    assert (cut.item_id, cut.content_index, cut.audio_end_ms) == (item.id, 0, heard_ms)
    (part,) = talk.the("conversation.item.retrieved")["item"]["content"]
    assert len(part["audio"]) * 3 // 4 == heard_ms * BYTES_PER_MS
    assert LONG.startswith(part["transcript"])
    assert 0 < len(part["transcript"]) < len(LONG) / 3
    (remembered,) = (one["content"] for one in stage.chats[1]["messages"] if one["role"] == "assistant")
    assert remembered == part["transcript"]
    talk.check()
    return talk


async def interrupted_turn(stage: Stage) -> Recording:
    """Somebody speaks while the answer is being made: it ends, and the next turn is theirs."""
    hold = Hold()
    stage.script([LONG + " ", hold, "And so on."], ["Bye."])
    async with calling(stage) as talk:
        await talk.connection.conversation.item.create(item=message("how much is a dozen dozens"))
        await talk.connection.response.create()
        await talk.until("response.output_audio.delta")
        await talk.append(spoken("stop it please"))
        cut = (await talk.until("response.done")).response
        stage.model.release(hold)
        answer = (await talk.until("response.done")).response
    assert (cut.status, cut.status_details.reason) == ("cancelled", "turn_detected")
    order = [event["type"] for event in talk.events]
    assert order.index("input_audio_buffer.speech_started") < order.index("response.done")
    assert answer.output[0].content[0].transcript == "Bye."
    talk.check()
    return talk


async def too_long_turn(stage: Stage) -> Recording:
    stage.script(["There once was", Finish("length")])
    async with calling(stage, TEXT) as talk:
        answer = await ask(talk, "tell me a story", {"max_output_tokens": 3})
    assert (answer.status, answer.status_details.reason) == ("incomplete", "max_output_tokens")
    assert stage.chats[0]["max_tokens"] == 3
    talk.check()
    return talk


async def idle_turn(stage: Stage) -> Recording:
    """Nobody says anything after the answer was heard: the server asks."""
    stage.script(["Well."], ["Are you still there?"])
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    async with calling(stage, {"audio": {"input": {"turn_detection": detection}}}) as talk:
        await ask(talk, "well")
        await talk.append(silence(1000))
        await talk.until("input_audio_buffer.timeout_triggered")
        answer = (await talk.until("response.done")).response
    timeout = talk.the("input_audio_buffer.timeout_triggered")
    assert timeout["item_id"] == talk.the("input_audio_buffer.committed")["item_id"]
    assert answer.output[0].content[0].transcript == "Are you still there?"
    talk.check()
    return talk


TURNS = (
    text_turn,
    spoken_turn,
    thoughtful_turn,
    manual_turn,
    cancelled_turn,
    truncated_turn,
    interrupted_turn,
    too_long_turn,
    idle_turn,
)
