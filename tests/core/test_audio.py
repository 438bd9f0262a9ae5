import pytest

from legato.core.audio import RATES, AudioFormat, AudioFrame, AudioGap, opus_duration_us


@pytest.mark.parametrize(
    ("form", "payload", "samples"),
    [
        (AudioFormat("pcm16", 16_000), bytes(640), 320),
        (AudioFormat("pcmu", 8_000), bytes(160), 160),
        (AudioFormat("pcma", 8_000), b"", 0),
        (AudioFormat("opus", 48_000), b"\x08", 960),
        (AudioFormat("opus", 16_000), b"\x80", 40),
        (AudioFormat("opus", 24_000), b"\x0b\x03", 1_440),
    ],
)
def test_samples(form: AudioFormat, payload: bytes, samples: int) -> None:
    assert form.samples(payload) == samples


@pytest.mark.parametrize(
    ("packet", "duration_us"),
    [(b"\x08", 20_000), (b"\x09", 40_000), (b"\x0b\x03", 60_000), (b"\x80", 2_500)],
)
def test_how_long_an_opus_packet_sounds(packet: bytes, duration_us: int) -> None:
    assert opus_duration_us(packet) == duration_us


@pytest.mark.parametrize("packet", [b"", b"\x03", b"\x03\x00", b"\x1b\x03", b"\xfb\x07"])
def test_what_is_no_opus_packet(packet: bytes) -> None:
    with pytest.raises(ValueError, match="Opus packet"):
        opus_duration_us(packet)


def test_half_a_sample() -> None:
    with pytest.raises(ValueError, match="odd length"):
        AudioFormat("pcm16", 16_000).samples(b"abc")


def test_undefined_formats() -> None:
    with pytest.raises(ValueError, match="not defined"):
        AudioFormat("pcm16", 44_100)
    with pytest.raises(ValueError, match="one channel"):
        AudioFormat("pcm16", 16_000, 2)


def test_sizes() -> None:
    assert {codec: AudioFormat(codec, rates[0]).bytes_per_second for codec, rates in RATES.items()} == {  # type: ignore[arg-type]
        "pcm16": 32_000,
        "opus": None,
        "pcmu": 8_000,
        "pcma": 8_000,
    }
    assert AudioFormat("pcmu", 8_000).bytes_per_sample == 1
    assert AudioFormat("pcm16", 16_000).duration_us(321) == 20_062


def test_frames_and_gaps() -> None:
    frame = AudioFrame.of(100, 5, bytes(20), AudioFormat("pcm16", 16_000))
    assert (frame.samples, frame.end) == (10, 110)
    assert AudioGap(110, 500).samples == 390
