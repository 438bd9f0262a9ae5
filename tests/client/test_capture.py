"""Capture times stay with the samples they belong to."""

from legato.client.capture import CapturedAudio
from legato.core.audio import AudioFormat

PCM = AudioFormat("pcm16", 16_000)


def test_payloads_carry_the_time_of_their_first_sample() -> None:
    capture = CapturedAudio(PCM)
    assert capture.add(bytes(400), 1_000_000) == []
    timed = capture.add(bytes(2 * 640), 1_012_500)
    assert [at for _, at in timed] == [1_000_000, 1_020_000]
    assert all(len(payload) == 640 for payload, _ in timed)


def test_the_rest_is_coded_at_the_end() -> None:
    capture = CapturedAudio(PCM)
    capture.add(bytes(100), 0)
    assert capture.flush(3_125) == [(bytes(100), 0)]


def test_opus_is_coded_in_frames_of_twenty_milliseconds() -> None:
    capture = CapturedAudio(AudioFormat("opus", 16_000))
    timed = capture.add(bytes(2 * 16_000), 0)
    assert [at for _, at in timed[:3]] == [0, 20_000, 40_000]
