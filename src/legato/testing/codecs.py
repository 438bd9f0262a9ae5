"""The contract of a codec as a test: `check_codec`. Must not know any codec."""

import math
from array import array

from legato.audio.codecs.base import FRAME_MS, Codec
from legato.core.audio import AudioFormat

__all__ = ["check_codec", "chirp"]

_MOST_DELAY_MS = 60
"""Audio that a decoder may hold back until it is flushed."""


def chirp(samples: int, rate: int) -> bytes:
    """A tone that glides from 200 to 1000 Hz, mono s16le: unlike itself at every shift."""
    seconds = samples / rate

    def value(place: int) -> int:
        time = place / rate
        return int(8_000 * math.sin(2 * math.pi * (200 * time + 400 * time * time / seconds)))

    return array("h", map(value, range(samples))).tobytes()


def check_codec(codec: Codec) -> None:
    """Raise AssertionError unless `codec` keeps the contract of `legato.audio.codecs.base`."""
    _check_lengths(codec)
    _check_pieces(codec)
    _check_alignment(codec)
    _check_loss(codec)
    _check_bad_payloads(codec)


def _coded(codec: Codec, pcm: bytes) -> list[bytes]:
    encoder = codec.encoder()
    return encoder.encode(pcm) + encoder.flush()


def _decoded(codec: Codec, payloads: list[bytes]) -> bytes:
    decoder = codec.decoder()
    return b"".join(decoder.decode(payload) for payload in payloads) + decoder.flush()


def _check_lengths(codec: Codec) -> None:
    """Payloads last 20 ms each but the last ones, and nothing that went in is missing."""
    frame = codec.format.rate * FRAME_MS // 1000
    for samples in (0, 1, frame - 1, frame, 3 * frame, 7 * frame + 13):
        pcm = chirp(samples, codec.format.rate) if samples else b""
        payloads = _coded(codec, pcm)
        lengths = [codec.format.samples(payload) for payload in payloads]
        assert all(length == frame for length in lengths[:-2]), lengths
        assert sum(lengths) >= samples, (lengths, samples)
        assert sum(lengths) - samples <= 2 * frame, (lengths, samples)
        assert len(_decoded(codec, payloads)) // 2 >= samples
        assert bool(payloads) == bool(samples)


def _check_pieces(codec: Codec) -> None:
    """How audio is cut up when it goes in does not matter, nor what the coder did before `flush`."""
    pcm = chirp(codec.format.rate // 4 + 5, codec.format.rate)
    whole = _coded(codec, pcm)
    encoder = codec.encoder()
    for _ in range(2):
        payloads: list[bytes] = []
        place, size = 0, 1
        while place < len(pcm):
            payloads += encoder.encode(pcm[place : place + size])
            place, size = place + size, size * 3 % 1009
        payloads += encoder.flush()
        assert payloads == whole
    decoder = codec.decoder()
    first = b"".join(map(decoder.decode, whole)) + decoder.flush()
    second = b"".join(map(decoder.decode, whole)) + decoder.flush()
    assert first == second


def _check_alignment(codec: Codec) -> None:
    """What comes out is what went in, at the same place."""
    rate = codec.format.rate
    pcm = chirp(rate // 2, rate)
    heard = _decoded(codec, _coded(codec, pcm))[: len(pcm)]
    assert abs(_shift(pcm, heard, rate)) <= rate // 8_000 + 1


def _check_loss(codec: Codec) -> None:
    """After a loss everything stands where it stood; the loss is filled."""
    rate, frame = codec.format.rate, codec.format.rate * FRAME_MS // 1000
    pcm = chirp(rate, rate)
    payloads = _coded(codec, pcm)
    decoder = codec.decoder()
    heard = b"".join(map(decoder.decode, payloads[:10]))
    heard += decoder.lose(5 * frame)
    heard += b"".join(map(decoder.decode, payloads[15:])) + decoder.flush()
    assert len(heard) == len(_decoded(codec, payloads))
    after = slice(2 * 20 * frame, 2 * 40 * frame)
    assert abs(_shift(pcm[after], heard[after], rate)) <= rate // 8_000 + 1
    held_back = (
        sum(map(codec.format.samples, payloads[:10]))
        - len(b"".join(map(codec.decoder().decode, payloads[:10]))) // 2
    )
    assert held_back <= rate * _MOST_DELAY_MS // 1000


def _check_bad_payloads(codec: Codec) -> None:
    """Payloads that are not of the format are refused, and the decoder lives on."""
    payloads = _coded(codec, chirp(codec.format.rate // 10, codec.format.rate))
    decoder = codec.decoder()
    for payload in payloads:
        decoder.decode(payload)
    for bad in _bad_payloads(codec.format):
        try:
            decoder.decode(bad)
        except ValueError:
            continue
        raise AssertionError(f"{bad!r} was taken for {codec.format.codec}")
    assert sum(len(decoder.decode(payload)) for payload in payloads) > 0


def _bad_payloads(form: AudioFormat) -> list[bytes]:
    """Payloads that the format itself cannot measure."""
    found = []
    for candidate in (b"", b"\x00", b"\xff", b"\x03\x00", b"\xff" * 7):
        try:
            form.samples(candidate)
        except ValueError:
            found.append(candidate)
    return found


def _shift(expected: bytes, heard: bytes, rate: int) -> int:
    """By how many samples `heard` is late, by the best match within 4 ms of its middle."""
    a, b = array("h", expected), array("h", heard)
    most, length = rate // 250, rate // 16
    start = (min(len(a), len(b)) - length) // 2
    wanted = a[start : start + length]

    def likeness(shift: int) -> int:
        late = b[start + shift : start + shift + length]
        return sum(x * y for x, y in zip(wanted, late, strict=True))

    return max(range(-most, most + 1), key=likeness)
