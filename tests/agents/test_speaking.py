import asyncio

import pytest

from legato.agents.base import Outcome, Speech, ToolCall
from legato.agents.speaking import MOST_SENTENCES, MOST_WAITING_BYTES, spoken
from legato.agents.stages.base import USUAL, Delivery
from legato.core.errors import AgentError


class Voice:
    """Speaks when it is let; remembers what it began and what was stopped."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.deliveries: list[Delivery] = []
        self.stopped: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def gate(self, text: str) -> asyncio.Event:
        return self.gates.setdefault(text, asyncio.Event())

    async def speak(self, text: str, delivery: Delivery = USUAL):
        self.begun.append(text)
        self.deliveries.append(delivery)
        try:
            yield Speech(b"\0\0", 8_000, text)
            await self.gate(text).wait()
            if text.startswith("fail"):
                raise AgentError("no voice")
            yield Speech(b"\1\0", 8_000)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped.append(text)
            raise


async def written(*texts, error: Exception | None = None):
    for text in texts:
        yield text
    if error:
        raise error


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_sentences_are_made_ahead_but_only_so_far() -> None:
    voice = Voice()
    speech = spoken(written("a", "b", "c", "d"), voice, ahead=2)
    assert (await anext(speech)).text == "a"
    await settled()
    assert voice.begun == ["a", "b"]
    voice.gate("b").set()
    await settled()
    assert voice.begun == ["a", "b"]
    voice.gate("a").set()
    assert (await anext(speech)).text == ""
    assert (await anext(speech)).text == "b"
    await settled()
    assert voice.begun == ["a", "b", "c"]
    await speech.aclose()
    assert voice.stopped == ["c"]


async def test_the_text_is_read_to_its_end_however_slowly_it_is_said() -> None:
    read = []

    async def writer():
        for text in "abcdef":
            read.append(text)
            yield text

    speech = spoken(writer(), Voice(), ahead=1)
    await anext(speech)
    await settled()
    assert read == list("abcdef")
    await speech.aclose()


async def test_what_was_made_is_said_before_a_failure_is_told() -> None:
    voice = Voice()
    voice.gate("a").set()
    voice.gate("fail").set()
    said = []
    with pytest.raises(AgentError, match="no voice"):
        async for piece in spoken(written("a", "fail", "c"), voice, ahead=3):
            said.append(piece.text)
    assert said == ["a", "", "fail"]
    assert voice.stopped == ["c"]

    said = []
    with pytest.raises(AgentError, match="no thought"):
        async for piece in spoken(written("a", error=AgentError("no thought")), voice, ahead=3):
            said.append(piece.text)
    assert said == ["a", ""]


async def test_nothing_to_say() -> None:
    assert [piece async for piece in spoken(written(), Voice(), ahead=1)] == []


async def test_what_is_not_spoken_keeps_its_place() -> None:
    voice = Voice()
    call, outcome = ToolCall("c", "f", "{}"), Outcome()
    for text in ("a", "b"):
        voice.gate(text).set()
    parts = [piece async for piece in spoken(written("a", call, "b", outcome), voice, ahead=1)]
    assert [part.text if isinstance(part, Speech) else part for part in parts] == [
        "a",
        "",
        call,
        "b",
        "",
        outcome,
    ]


async def test_all_sentences_are_spoken_in_one_manner() -> None:
    voice, slowly = Voice(), Delivery("slt", 0.5)
    for text in ("a", "b"):
        voice.gate(text).set()
    assert len([piece async for piece in spoken(written("a", "b"), voice, 2, slowly)]) == 4
    assert voice.deliveries == [slowly, slowly]


async def test_a_voice_that_does_not_end_waits_until_it_is_listened_to() -> None:
    made = []

    class Endless:
        async def speak(self, text: str, delivery: Delivery = USUAL):
            while True:
                made.append(len(made))
                await asyncio.sleep(0)
                yield Speech(bytes(MOST_WAITING_BYTES // 4), 24_000, text)

    speech = spoken(written("a"), Endless(), ahead=1)
    await anext(speech)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(made) < 10
    before = len(made)
    await anext(speech)
    await anext(speech)
    await settled()
    assert len(made) > before
    await speech.aclose()


async def test_a_writer_that_does_not_end_waits_until_it_is_listened_to() -> None:
    read = []

    async def writer():
        while True:
            read.append("a")
            await asyncio.sleep(0)
            yield "a"

    speech = spoken(writer(), Voice(), ahead=1)
    await anext(speech)
    for _ in range(10 * MOST_SENTENCES):
        await asyncio.sleep(0)
    assert len(read) < 2 * MOST_SENTENCES
    await speech.aclose()


@pytest.mark.parametrize("who", ["writer", "voice"])
async def test_who_is_cancelled_from_within_leaves_nobody_waiting(who: str) -> None:
    async def writer():
        yield "a"
        if who == "writer":
            raise asyncio.CancelledError

    class Broken(Voice):
        async def speak(self, text: str, delivery: Delivery = USUAL):
            yield Speech(b"\0\0", 8_000, text)
            if who == "voice":
                raise asyncio.CancelledError

    said = []
    with pytest.raises(AgentError, match="cancelled from within"):
        async for piece in spoken(writer(), Broken(), ahead=1):
            said.append(piece.text)
    assert said == ["a"]
