"""What was heard of an utterance, word by word, and when nothing about it changes any more."""

import asyncio

from legato.server.utterance import SpokenUtterance

RATE = 1000


def spoken(*texts: str, complete: bool = True) -> SpokenUtterance:
    """An utterance in which every text sounds for one second."""
    utterance = SpokenUtterance("item", RATE, lambda _: None)
    for text in texts:
        utterance.spoken.add(text, utterance.spoken.sent)
        utterance.spoken.note_sent(RATE)
    utterance.spoken.complete = complete
    return utterance


async def test_heard_text_grows_word_by_word_and_never_shrinks() -> None:
    utterance = spoken("one two three four", "five six")
    heard = []
    for position in (0, 250, 999, 1000, 500, 1500, 2000):
        utterance.spoken.note_heard(position)
        heard.append(utterance.heard_text)
    assert heard == [
        "",
        "one",
        "one two three",
        "one two three four",
        "one two three four",
        "one two three four five",
        "one two three four five six",
    ]
    assert utterance.heard_ms == 2000


async def test_a_player_cannot_have_heard_more_than_was_sent() -> None:
    utterance = spoken("one two", complete=False)
    assert utterance.spoken.note_heard(50_000)
    assert not utterance.spoken.note_heard(60_000)
    assert utterance.heard_ms == 1000


async def test_a_text_without_sound_yet_is_not_heard() -> None:
    utterance = spoken("one", complete=False)
    utterance.spoken.add("two", RATE)
    utterance.spoken.note_heard(RATE)
    assert (utterance.text, utterance.heard_text) == ("one two", "one")


async def test_settling_unheard_is_an_interruption_and_settling_heard_is_not() -> None:
    cut, whole, nothing = spoken("one"), spoken("one"), spoken()
    whole.spoken.note_heard(RATE)
    for utterance in (cut, whole, nothing):
        utterance.settle()
        utterance.settle()
        await utterance.finished
    assert (cut.interrupted, whole.interrupted, nothing.interrupted) == (True, False, False)


async def test_cancelling_reaches_the_speaker_once_and_never_after_the_end() -> None:
    cancelled: list[SpokenUtterance] = []
    utterance = SpokenUtterance("item", RATE, cancelled.append)
    utterance.cancel()
    utterance.cancel()
    assert cancelled == [utterance]
    late = SpokenUtterance("item", RATE, cancelled.append)
    late.settle()
    late.cancel()
    assert cancelled == [utterance]


async def test_cancelling_who_awaits_it_does_not_settle_it() -> None:
    utterance = spoken("one")

    async def wait() -> None:
        await utterance.finished

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not utterance.settled
