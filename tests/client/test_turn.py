"""Whose turn it is, and a reply that is held until the server has decided."""

import asyncio
import random

import pytest

from legato.client import turn
from legato.client.playback import PlaybackBuffer
from legato.client.turn import Turn

SOUND = random.Random(3).randbytes(2_000)


class Listener:
    """A player with one reply of which a part was heard, and the turn that holds it."""

    def __init__(self, played: int = 300) -> None:
        self.changes: list[tuple[str, int]] = []
        self.playback = PlaybackBuffer(24_000)
        item = self.playback.begin("item", 0, 5)
        assert item is not None
        self.playback.append(item, SOUND)
        self.playback.complete(item)
        self.heard = self.playback.pull(played)
        self.playback.changes()
        self.turn = Turn(self.playback, self.changed)

    def changed(self) -> None:
        self.changes += [(item.state, item.played) for item in self.playback.changes()]


async def test_a_denied_reply_goes_on_from_the_same_sample() -> None:
    listener = Listener()
    assert listener.turn.duck() == 5
    assert listener.playback.pull(100) == bytes(200)
    assert listener.turn.duck() is None
    listener.turn.take({"type": "legato.unduck", "generation": 5})
    assert listener.heard + listener.playback.pull(700) == SOUND
    assert listener.changes == [("paused", 300), ("playing", 300)]
    listener.turn.take({"type": "legato.unduck"})


async def test_a_confirmed_reply_is_over_where_it_was_held() -> None:
    listener = Listener()
    listener.turn.duck()
    (item,) = listener.playback.flush(5)
    listener.turn.decided()
    assert (item.state, item.played) == ("stopped", 300)
    assert listener.playback.pull(100) == bytes(200)
    assert not listener.playback.paused


async def test_a_word_on_another_reply_decides_nothing() -> None:
    listener = Listener()
    listener.turn.duck()
    listener.turn.take({"type": "legato.unduck", "generation": 4})
    listener.turn.decided(6, 7)
    assert listener.playback.paused
    listener.turn.decided(4, 5)
    assert not listener.playback.paused


async def test_what_does_not_sound_is_not_held() -> None:
    listener = Listener(played=0)
    assert listener.turn.duck() is None
    assert listener.playback.pull(10) == SOUND[:20]
    empty = Turn(PlaybackBuffer(24_000), lambda: None)
    assert empty.duck() is None


async def test_silence_of_the_server_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE_S", 0.01)
    listener = Listener()
    listener.turn.duck()
    async with asyncio.timeout(20):
        while listener.playback.paused:  # noqa: ASYNC110 - the buffer belongs to a thread
            await asyncio.sleep(0.005)
    assert listener.heard + listener.playback.pull(700) == SOUND


async def test_a_pause_is_when_nobody_speaks_and_nothing_sounds() -> None:
    listener = Listener()
    assert not listener.turn.pausing
    listener.playback.pull(700)
    assert listener.turn.pausing
    for begins, ends in (
        ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
        ("response.created", "response.done"),
    ):
        listener.turn.take({"type": begins})
        assert not listener.turn.pausing
        listener.turn.take({"type": ends})
        assert listener.turn.pausing
    listener.turn.take({"type": "response.created"})
    listener.turn.restart()
    assert listener.turn.pausing
