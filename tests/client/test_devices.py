"""The silent loudspeaker: everything is heard once, in order, until it is stopped."""

import asyncio

import pytest

from legato.client.devices import BLOCK_MS, VirtualSpeaker
from legato.client.playback import PlaybackBuffer

RATE = 8_000
BLOCK = RATE * BLOCK_MS // 1000


async def test_it_plays_in_order_and_then_silence() -> None:
    heard = bytearray()
    buffer = PlaybackBuffer(RATE)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    said = b"".join(number.to_bytes(2, "little") for number in range(1, 3 * BLOCK))
    buffer.append(item, said)
    buffer.complete(item)
    done = asyncio.Event()
    speaker = VirtualSpeaker(heard.extend)
    speaker.start(buffer, lambda: done.set() if item.state == "done" else None)
    await asyncio.wait_for(done.wait(), 60)
    speaker.stop()
    assert bytes(heard[: len(said)]) == said
    assert not any(heard[len(said) :])
    assert len(heard) % (2 * BLOCK) == 0


async def test_it_can_be_stopped_by_what_it_calls_and_again() -> None:
    stopped = asyncio.Event()
    speaker = VirtualSpeaker()
    pulls = 0

    def on_pull() -> None:
        nonlocal pulls
        pulls += 1
        speaker.stop()
        stopped.set()

    speaker.start(PlaybackBuffer(RATE), on_pull)
    await asyncio.wait_for(stopped.wait(), 60)
    speaker.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    assert pulls == 1
    assert "virtual speaker" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_it_goes_on_when_what_is_heard_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    def full(_: bytes) -> None:
        raise OSError("no space left")

    buffer = PlaybackBuffer(RATE)
    item = buffer.begin("a", 0, 1)
    assert item is not None
    buffer.append(item, bytes(4 * BLOCK))
    buffer.complete(item)
    done = asyncio.Event()
    speaker = VirtualSpeaker(full)
    speaker.start(buffer, lambda: done.set() if item.state == "done" else None)
    await asyncio.wait_for(done.wait(), 20)
    speaker.stop()
    assert [record.getMessage() for record in caplog.records] == ["what is heard is not recorded any more"]
