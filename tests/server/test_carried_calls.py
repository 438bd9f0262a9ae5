"""A call as one server leaves it to another: how much of it is sealed, and when that is said."""

import asyncio
import random
import zlib
from base64 import b64encode
from collections.abc import Callable

import msgspec
import pytest
from tests.server.calls import INPUT
from tests.server.two_servers import (
    KEY,
    PATIENCE_S,
)

from legato.core.dialects.realtime.carried import (
    CarriedAnswer,
    CarriedDialogue,
    CarriedImage,
    CarriedItem,
    CarriedPart,
    CarriedSpeech,
    CarriedText,
)
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.server import carried_calls
from legato.server.carried_calls import MOST_BYTES, MOST_CHARACTERS, CarriedCall, opened, sealed
from legato.server.tickets import MAX_STATE_CHARS, TicketRefused, Tickets


def a_carried_call(items: int, size: int) -> CarriedCall:
    chance = random.Random(1)
    texts = ["".join(chance.choices("abcdefghijklmnop", k=size)) for _ in range(items)]
    kept = tuple(
        CarriedItem(id=f"item_{index}", type="message", role="user", content=(CarriedText(text),))
        for index, text in enumerate(texts)
    )
    dialogue = CarriedDialogue(settings=SessionSettings.of(), conversation_id="conv", items=kept)
    return CarriedCall(
        call_id="call",
        holder="me",
        began_at=0,
        sealed_at=0,
        formats=(INPUT, INPUT),
        generation=0,
        events=0,
        dialogue=dialogue,
    )


def test_a_long_conversation_loses_its_oldest_items() -> None:
    tickets = Tickets([KEY])
    text = sealed(a_carried_call(400, 1_000), tickets)
    assert text is not None
    assert MOST_BYTES // 4 < len(text) < MAX_STATE_CHARS
    left = opened(text, tickets).dialogue.items
    assert left[-1].id == "item_399"
    assert 10 < len(left) < 400


def test_of_a_very_long_conversation_only_the_latest_items_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To compress eight million characters takes half a second, in which nobody is served."""
    sizes: list[int] = []
    compress = zlib.compress

    def counting(data: bytes, level: int) -> bytes:
        sizes.append(len(data))
        return compress(data, level)

    monkeypatch.setattr(zlib, "compress", counting)
    tickets = Tickets([KEY])
    text = sealed(a_carried_call(800, 10_000), tickets)
    assert text is not None
    assert opened(text, tickets).dialogue.items[-1].id == "item_799"
    assert max(sizes) < 2 * MOST_CHARACTERS


def test_a_large_picture_does_not_cost_the_words_around_it() -> None:
    call, tickets = a_carried_call(3, 100), Tickets([KEY])
    chance = random.Random(1)
    picture = CarriedImage("data:image/png;base64," + b64encode(chance.randbytes(100_000)).decode(), "auto")
    first, second, third = call.dialogue.items
    shown = msgspec.structs.replace(second, content=(picture,))
    dialogue = msgspec.structs.replace(call.dialogue, items=(first, shown, third))
    text = sealed(msgspec.structs.replace(call, dialogue=dialogue), tickets)
    assert text is not None
    assert opened(text, tickets).dialogue.items == (first, third)


def test_all_kinds_of_items_are_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_calls, "MOST_CHARACTERS", 400)
    heavy = "x" * 100
    parts: tuple[CarriedPart, ...] = (
        CarriedText(heavy),
        CarriedImage(heavy, "auto"),
        CarriedSpeech(heavy[:50], heavy[:50]),
        CarriedAnswer(pieces=((0, heavy[:50]), (7, heavy[:50]))),
    )
    items = [CarriedItem(id=f"{index}", type="message", content=(part,)) for index, part in enumerate(parts)]
    items.append(CarriedItem(id="call", type="function_call", arguments=heavy[:50], output=heavy[:50]))
    call, tickets = a_carried_call(0, 0), Tickets([KEY])
    dialogue = msgspec.structs.replace(call.dialogue, items=tuple(items))
    text = sealed(msgspec.structs.replace(call, dialogue=dialogue), tickets)
    assert text is not None
    assert opened(text, tickets).dialogue.items == tuple(items[1:])


def test_settings_that_are_too_large_are_not_carried() -> None:
    call = a_carried_call(0, 0)
    chance = "".join(chr(0x4E00 + (index * 7_919) % 20_000) for index in range(90_000))
    settings = msgspec.structs.replace(call.dialogue.settings, instructions=chance)
    dialogue = msgspec.structs.replace(call.dialogue, settings=settings)
    assert sealed(msgspec.structs.replace(call, dialogue=dialogue), Tickets([KEY])) is None


def test_what_another_version_sealed_is_refused() -> None:
    tickets = Tickets([KEY])
    with pytest.raises(TicketRefused, match="another version"):
        opened(tickets.seal_state(zlib.compress(b"{}")), tickets)


async def test_it_is_said_again_how_far_audio_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_calls, "REFRESH_S", 0.01)
    said: list[int] = []
    position = 0
    arrived = asyncio.Event()

    def say() -> None:
        said.append(position)
        arrived.set()

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                arrived.clear()
                await arrived.wait()

    checkpoints = carried_calls.Checkpoints(say, lambda: position)
    checkpoints.note()
    checkpoints.note()
    await until(lambda: said == [0])
    position = 320
    await until(lambda: said == [0, 320])
    checkpoints.stop()
    position = 640
    checkpoints.note()
    await asyncio.sleep(0.03)  # longer than a refresh would take
    assert said == [0, 320]
