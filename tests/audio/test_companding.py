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


@pytest.mark.parametrize(("name", "foreign"), LAWS)
def test_every_sample_becomes_the_byte_that_means_it_best(name: str, foreign: str) -> None:
    codec = codec_for(AudioFormat(name, 8_000))
    samples = array("h", range(-32_768, 32_768))
    coded = b"".join(codec.encoder().encode(samples.tobytes()) + codec.encoder().flush())
    law = array("h", codec.decoder().decode(bytes(range(256))))
    values = sorted(set(law))
    for sample, code in zip(samples, coded, strict=False):
        best = min(abs(sample - value) for value in values)
        assert abs(sample - law[code]) <= best + (8 if abs(sample) < 256 else abs(sample) // 200), sample


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
