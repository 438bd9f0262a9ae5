import numpy as np
import pytest

from legato.audio.convert import IncomingAudio, OutgoingAudio
from legato.core.audio import RATES, AudioFormat, AudioFrame, AudioGap

FORMATS = [AudioFormat(codec, rate) for codec, rates in RATES.items() for rate in rates]


def tone(rate: int, samples: int) -> np.ndarray:
    return 9_000 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.rate}")
def test_there_and_back(form: AudioFormat) -> None:
    outgoing, incoming = OutgoingAudio(form), IncomingAudio(form, 16_000)
    coded = outgoing.convert(tone(22_050, 22_050).astype("<i2").tobytes(), 22_050) + outgoing.flush()
    offset, heard = 320, b""
    for payload, samples in coded:
        assert samples == form.samples(payload)
        heard += incoming.take(AudioFrame.of(offset, 0, payload, form))
        offset += samples
    heard += incoming.flush()
    assert incoming.start == 320
    samples = np.frombuffer(heard, "<i2")
    assert 16_000 <= len(samples) <= 16_000 * 1.05
    level = np.sqrt(np.mean(samples[2_000:14_000].astype(float) ** 2))
    assert level == pytest.approx(9_000 / np.sqrt(2), rel=0.05)


def test_a_gap_is_silence_of_its_length() -> None:
    form = AudioFormat("pcm16", 48_000)
    incoming = IncomingAudio(form, 16_000)
    loud = tone(48_000, 4_800).astype("<i2").tobytes()
    heard = incoming.take(AudioGap(0, 4_800))
    heard += incoming.take(AudioFrame.of(4_800, 0, loud, form))
    heard += incoming.take(AudioGap(9_600, 14_400)) + incoming.flush()
    samples = np.frombuffer(heard, "<i2").astype(float)
    assert len(samples) == 4_800
    assert incoming.start == 0
    assert np.abs(samples[:1_500]).max() == 0
    assert np.abs(samples[1_700:3_100]).max() > 8_000
    assert np.abs(samples[3_300:]).max() == 0


def test_the_rate_of_speech_may_change() -> None:
    outgoing = OutgoingAudio(AudioFormat("pcm16", 24_000))
    coded = outgoing.convert(bytes(2 * 8_000), 8_000) + outgoing.convert(bytes(2 * 16_000), 16_000)
    coded += outgoing.flush()
    assert sum(samples for _, samples in coded) == 48_000
    assert outgoing.flush() == []


def test_payloads_that_are_not_audio() -> None:
    form = AudioFormat("pcm16", 16_000)
    with pytest.raises(ValueError, match="whole samples"):
        IncomingAudio(form, 16_000).take(AudioFrame(0, 0, b"123", form, 1))
