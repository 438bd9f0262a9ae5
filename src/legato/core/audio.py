"""Audio formats, frames and gaps: how many samples a payload holds, and where it stands in the stream.

Owns the arithmetic between bytes and samples; must not decode, resample or touch a sample's value.
Positions and lengths are samples of the frame's own rate; times are microseconds.
"""

from typing import Literal

import msgspec

Codec = Literal["pcm16", "opus", "pcmu", "pcma"]

RATES: dict[str, tuple[int, ...]] = {
    "pcm16": (16_000, 24_000, 48_000),
    "opus": (16_000, 24_000, 48_000),
    "pcmu": (8_000,),
    "pcma": (8_000,),
}
"""The sample rates each codec may be used with (wire/SPEC.md, "Audio formats")."""

# Frame durations in microseconds by Opus configuration number (RFC 6716 section 3.1, table 2):
# 0..11 SILK, 12..15 hybrid, 16..31 CELT.
_OPUS_FRAME_US = (
    (10_000, 20_000, 40_000, 60_000) * 3 + (10_000, 20_000) * 2 + (2_500, 5_000, 10_000, 20_000) * 4
)
_OPUS_PACKET_MAX_US = 120_000
_BYTES_PER_SAMPLE = {"pcm16": 2, "pcmu": 1, "pcma": 1}


# How long a packet of code 0, 1 or 2 (one or two frames) sounds, by its first byte; 0 where a count follows.
_OPUS_PACKET_US = tuple(_OPUS_FRAME_US[toc >> 3] * (1, 2, 2, 0)[toc & 3] for toc in range(256))


def opus_duration_us(packet: bytes) -> int:
    """How long one Opus packet sounds, from its TOC byte (RFC 6716 section 3.1 and 3.2), in microseconds.

    Raises ValueError for an empty packet, a missing or zero frame count, or more than 120 ms.
    """
    if not packet:
        raise ValueError("an Opus packet has at least one byte")
    duration = _OPUS_PACKET_US[packet[0]]
    if duration:
        return duration
    if len(packet) < 2:
        raise ValueError("an Opus packet of code 3 needs its frame count byte")
    frames = packet[1] & 0x3F
    duration = frames * _OPUS_FRAME_US[packet[0] >> 3]
    if not 0 < duration <= _OPUS_PACKET_MAX_US:
        raise ValueError(f"an Opus packet lasts at most 120 ms, this one claims {frames} frames")
    return duration


def _opus_samples(rate: int) -> tuple[int, ...]:
    """Samples of an Opus packet by its first byte; 0 where the second one counts (code 3)."""
    return tuple(
        (0 if toc & 3 == 3 else 1 if toc & 3 == 0 else 2) * _OPUS_FRAME_US[toc >> 3] * rate // 1_000_000
        for toc in range(256)
    )


_OPUS_SAMPLES = {rate: _opus_samples(rate) for rate in RATES["opus"]}


class AudioFormat(msgspec.Struct, frozen=True, gc=False):
    """How audio is coded: codec, sample rate in Hz, channels (always 1 in this version of the wire)."""

    codec: Codec
    rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        """Refuse combinations that wire/SPEC.md does not define; raises ValueError."""
        rates = RATES[self.codec]
        if self.rate not in rates:
            raise ValueError(f"{self.codec} at {self.rate} Hz is not defined; use one of {rates}")
        if self.channels != 1:
            raise ValueError(f"audio has one channel, not {self.channels}")

    def samples(self, payload: bytes) -> int:
        """How many samples `payload` holds; raises ValueError if it is not whole audio of this format."""
        if self.codec == "opus":
            # Asked for every frame of every call; most packets tell by their first byte.
            known = _OPUS_SAMPLES[self.rate][payload[0]] if payload else 0
            return known or opus_duration_us(payload) * self.rate // 1_000_000
        if self.codec == "pcm16":
            if len(payload) & 1:
                raise ValueError("pcm16 takes two bytes per sample, this payload has an odd length")
            return len(payload) >> 1
        return len(payload)

    @property
    def bytes_per_sample(self) -> int | None:
        """Bytes of one sample, or None where a payload cannot be cut at a sample (opus)."""
        return _BYTES_PER_SAMPLE.get(self.codec)

    @property
    def bytes_per_second(self) -> int | None:
        """Bytes of one second, or None where the coder decides (opus)."""
        size = _BYTES_PER_SAMPLE.get(self.codec)
        return None if size is None else size * self.rate

    def duration_us(self, samples: int) -> int:
        """How long `samples` last at this rate, in microseconds, rounded down."""
        return samples * 1_000_000 // self.rate


class AudioFrame(msgspec.Struct, frozen=True, gc=False):
    """One piece of audio as captured: position, capture time, coded payload.

    `offset` is the position of the first sample since the start of the call; `captured_us` is the capture
    time by the sender's own monotonic clock (comparable between frames of one call, with nothing else).
    """

    offset: int
    captured_us: int
    payload: bytes
    format: AudioFormat
    samples: int
    """How many samples the payload holds; `of` counts them."""

    @classmethod
    def of(cls, offset: int, captured_us: int, payload: bytes, form: AudioFormat) -> "AudioFrame":
        """A frame of this payload; raises ValueError if it is not whole audio of this format."""
        return cls(offset, captured_us, payload, form, form.samples(payload))

    @property
    def end(self) -> int:
        """Position one past the last sample of this frame."""
        return self.offset + self.samples


class AudioGap(msgspec.Struct, frozen=True, gc=False):
    """Samples `start` up to but excluding `stop` are lost for ever; never inserted silently."""

    start: int
    stop: int

    @property
    def samples(self) -> int:
        """How many samples are missing."""
        return self.stop - self.start
