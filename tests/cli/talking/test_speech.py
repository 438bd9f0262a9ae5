"""Recordings and the pace at which they are said."""

import asyncio
import math
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from legato.audio.wav import write_wav
from legato.cli.talking.saving import Recorder
from legato.cli.talking.speech import Mouth, Recording, load_recording, voice_end
from legato.client.playback import PlaybackBuffer
from legato.core.errors import SettingsError

RATE = 16_000


def tone(seconds: float, rate: int = RATE) -> bytes:
    return array("h", (round(9000 * math.sin(at / 9)) for at in range(round(seconds * rate)))).tobytes()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_us = 5_000_000

    def __call__(self) -> int:
        return self.now_us

    async def sleep(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)
        await asyncio.sleep(0)


class TestRecordings:
    def test_any_rate_becomes_the_calls(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", tone(0.5, 44_100), 44_100)
        recording = load_recording(tmp_path / "a.wav", RATE)
        assert recording.name == "a.wav"
        assert len(recording.pcm) // 2 == RATE // 2

    def test_the_voice_ends_before_the_silence(self) -> None:
        assert voice_end(tone(0.5) + bytes(2 * RATE)) == pytest.approx(RATE // 2, abs=20)
        assert voice_end(bytes(100)) == 0
        assert voice_end(b"") == 0

    def test_what_is_no_recording_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(b"RIFFnothing")
        for name in ("a.wav", "b.wav"):
            with pytest.raises(SettingsError, match=name):
                load_recording(tmp_path / name, RATE)


class TestMouth:
    async def test_says_in_real_time_with_silence_around(self) -> None:
        clock, sent, third = Clock(), list[tuple[bytes, int]](), asyncio.Event()

        def send(block: bytes, at_us: int) -> None:
            # A block is there when its last sample is.
            assert clock() >= at_us + 20_000
            sent.append((block, at_us))
            if len(sent) == 3:
                third.set()

        mouth = Mouth(send, RATE, clock, clock.sleep)
        running = asyncio.create_task(mouth.run())
        await third.wait()
        assert all(block == bytes(640) for block, _ in sent)
        begin_us = mouth.next_us
        said = tone(0.1) + bytes(800)
        assert await mouth.say(Recording("a.wav", said, RATE // 10)) == begin_us + 100_000
        assert await mouth.say(Recording("b.wav", b"\1\0" * 10, 10)) == mouth.next_us - 20_000 + 625
        running.cancel()
        times = [at_us for _, at_us in sent]
        assert times == [5_000_000 + 20_000 * number for number in range(len(sent))]
        stream = b"".join(block for block, _ in sent)
        at = (begin_us - times[0]) * RATE // 1_000_000 * 2
        assert stream[at : at + len(said)] == said
        assert stream.endswith((b"\1\0" * 10).ljust(640, b"\0"))

    async def test_a_late_wake_up_is_made_up_for(self) -> None:
        clock, sent = Clock(), list[int]()
        mouth = Mouth(lambda _, at_us: sent.append(at_us), RATE, clock, clock.sleep)
        clock.now_us += 100_000
        running = asyncio.create_task(mouth.run())
        await asyncio.sleep(0)
        assert sent[:5] == [5_000_000, 5_020_000, 5_040_000, 5_060_000, 5_080_000]
        running.cancel()


class Speaker:
    """A device that pulls when told to."""

    def start(self, buffer: PlaybackBuffer, on_pull: Callable[[], None]) -> None:
        self.buffer = buffer

    def stop(self) -> None:
        self.stopped = True


class TestRecorder:
    def test_keeps_what_was_heard_with_short_pauses(self, tmp_path: Path) -> None:
        device, buffer = Speaker(), PlaybackBuffer(RATE)
        recorder = Recorder(device)
        recorder.start(buffer, lambda: None)
        first, second = tone(0.1), tone(0.2)
        device.buffer.pull(RATE)
        for number, pcm in enumerate((first, second), 1):
            item = buffer.begin(f"item_{number}", 0, number)
            assert item is not None
            buffer.append(item, pcm)
            buffer.complete(item)
            for _ in range(200):
                device.buffer.pull(RATE // 50)
        recorder.stop()
        assert recorder.save(tmp_path / "replies.wav")
        saved = load_recording(tmp_path / "replies.wav", RATE).pcm
        assert saved == first + bytes(RATE) + second

    def test_without_a_reply_there_is_no_file(self, tmp_path: Path) -> None:
        recorder = Recorder(Speaker())
        assert not recorder.save(tmp_path / "replies.wav")
        recorder.start(PlaybackBuffer(RATE), lambda: None)
        assert not recorder.save(tmp_path / "replies.wav")
        assert list(tmp_path.iterdir()) == []
