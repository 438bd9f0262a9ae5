"""The two laws of G.711 against another implementation: the codecs inside PyAV."""

from array import array

import av
import pytest

from legato.audio.codecs import codec_for
from legato.core.audio import AudioFormat

LAWS = [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")]


def foreign_decoded(codec: str, payload: bytes) -> list[int]:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = 8_000, "mono"
    frames = context.decode(av.Packet(payload))
    return list(array("h", b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)))


@pytest.mark.parametrize(("name", "foreign"), LAWS)
def test_every_byte_means_the_same(name: str, foreign: str) -> None:
    every = bytes(range(256))
    ours = list(array("h", codec_for(AudioFormat(name, 8_000)).decoder().decode(every)))
    assert ours == foreign_decoded(foreign, every)


@pytest.mark.parametrize("name", ["pcmu", "pcma"])
def test_every_sample_becomes_a_byte_near_it_and_order_is_kept(name: str) -> None:
    codec = codec_for(AudioFormat(name, 8_000))
    samples = array("h", range(-32_768, 32_768))
    encoder = codec.encoder()
    heard = array("h", codec.decoder().decode(b"".join(encoder.encode(samples.tobytes()) + encoder.flush())))
    assert list(heard) == sorted(heard)
    for sample, value in zip(samples, heard, strict=True):
        assert abs(sample - value) <= 8 + abs(value) // 32, sample


@pytest.mark.parametrize(("name", "silence"), [("pcmu", 0xFF), ("pcma", 0xD5)])
def test_silence(name: str, silence: int) -> None:
    codec = codec_for(AudioFormat(name, 8_000))
    assert codec.encoder().encode(bytes(320)) == [bytes([silence]) * 160]


@pytest.mark.parametrize(("name", "foreign"), LAWS)
def test_coding_what_was_decoded_changes_nothing(name: str, foreign: str) -> None:
    codec = codec_for(AudioFormat(name, 8_000))
    every = bytes(code for code in range(256) if (name, code) != ("pcmu", 0x7F))  # its second zero
    encoder = codec.encoder()
    assert b"".join(encoder.encode(codec.decoder().decode(every)) + encoder.flush()) == every
