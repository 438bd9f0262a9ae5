import os

import pytest

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat
from legato.testing.codecs import chirp


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_the_codecs_delay_is_taken_away(rate: int) -> None:
    codec = codec_for(AudioFormat("opus", rate))
    decoder, encoder = codec.decoder(), codec.encoder()
    payloads = encoder.encode(chirp(rate // 10, rate))
    lengths = [len(decoder.decode(payload)) // 2 for payload in payloads]
    assert lengths[1:] == [rate // 50] * 4
    assert rate // 50 - rate * 9 // 1000 < lengths[0] < rate // 50 - rate * 6 // 1000


def test_calls_cost_no_threads() -> None:
    codec = codec_for(AudioFormat("opus", 16_000))
    payload = codec.encoder().encode(chirp(1_600, 16_000))[0]
    before = len(os.listdir("/proc/self/task"))
    decoders = [codec.decoder() for _ in range(20)]
    assert all(decoder.decode(payload) for decoder in decoders)
    assert len(os.listdir("/proc/self/task")) <= before


def test_packets_are_small_and_of_speech_quality() -> None:
    codec = codec_for(AudioFormat("opus", 16_000))
    encoder = codec.encoder()
    payloads = encoder.encode(chirp(16_000, 16_000)) + encoder.flush()
    assert sum(map(len, payloads)) * 8 < 40_000


def test_packets_of_other_encoders_are_measured_by_their_own_length() -> None:
    """Code 3 with three silent SILK frames of 20 ms (RFC 6716 section 3.2.5)."""
    form = AudioFormat("opus", 16_000)
    decoder = codec_for(form).decoder()
    packet = bytes([0x4B, 0x03])
    assert form.samples(packet) == 3 * 320
    first = decoder.decode(packet)
    assert len(decoder.decode(packet)) // 2 == 3 * 320
    assert 3 * 320 - 200 < len(first) // 2 < 3 * 320


def test_garbage_is_refused_and_the_decoder_lives_on() -> None:
    codec = codec_for(AudioFormat("opus", 16_000))
    good = codec.encoder().encode(chirp(3_200, 16_000))
    decoder = codec.decoder()
    for bad in (b"", b"\x4b\x00", b"\x4a\xff", bytes([0x4B, 0x83]) + b"\xff" * 3):
        with pytest.raises(ValueError, match=r"Opus|packet"):
            decoder.decode(bad)
    assert sum(len(decoder.decode(payload)) for payload in good) > 6_000
