"""opus (RFC 6716): one packet per payload, by libopus inside PyAV (extra `opus`).

Owns the codec's delay: the encoder starts each stream `_PRE_SKIP` late (RFC 7845 section 4.2), which the
decoder takes away again, so that both ends count the same samples.
"""

import av
import av.error
import av.filter
from av.audio.codeccontext import AudioCodecContext

from legato.core.audio import AudioFormat, opus_duration_us

from .base import FRAME_MS, Codec

__all__ = ["build"]

_DECODED_RATE = 48_000
_PRE_SKIP = 312
"""Samples at 48 kHz by which libopus delays what it encodes, at every rate and for every application but
restricted low delay: 6.5 ms."""
_BIT_RATE = 32_000


def _frame(pcm: bytes, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.sample_rate = rate
    frame.planes[0].update(pcm)
    return frame


def _pcm(frame: av.AudioFrame) -> bytes:
    return bytes(frame.planes[0])[: 2 * frame.samples]


class _Downsampler:
    """From the rate that libopus decodes at; on the caller's thread (`av.AudioResampler` starts several)."""

    def __init__(self, rate: int) -> None:
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = f"sample_rate={_DECODED_RATE}:sample_fmt=s16:channel_layout=mono:time_base=1/{_DECODED_RATE}"
        filters = ("abuffer", source), ("aresample", str(rate)), ("abuffersink", "")
        self._graph.link_nodes(*(self._graph.add(name, options) for name, options in filters)).configure()

    def process(self, pcm: bytes) -> bytes:
        self._graph.push(_frame(pcm, _DECODED_RATE))
        return self._ready()

    def flush(self) -> bytes:
        self._graph.push(None)
        return self._ready()

    def _ready(self) -> bytes:
        ready = b""
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return ready
            assert isinstance(frame, av.AudioFrame)
            ready += _pcm(frame)


class _Decoder:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._start()

    def _start(self) -> None:
        context = av.CodecContext.create("libopus", "r")
        assert isinstance(context, AudioCodecContext)
        context.layout = "mono"
        self._context = context
        self._to_skip = _PRE_SKIP
        self._downsampler = None if self._rate == _DECODED_RATE else _Downsampler(self._rate)

    def decode(self, payload: bytes) -> bytes:
        opus_duration_us(payload)
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.error.FFmpegError as error:
            raise ValueError(f"not an Opus packet: {error}") from error
        return self._at_rate(b"".join(map(_pcm, frames)))

    def lose(self, samples: int) -> bytes:
        return self._at_rate(bytes(2 * samples * _DECODED_RATE // self._rate))

    def flush(self) -> bytes:
        rest = b"" if self._downsampler is None else self._downsampler.flush()
        self._start()
        return rest

    def _at_rate(self, pcm: bytes) -> bytes:
        if self._to_skip:
            skipped = min(self._to_skip, len(pcm) // 2)
            self._to_skip -= skipped
            pcm = pcm[2 * skipped :]
        if self._downsampler is None or not pcm:
            return pcm
        return self._downsampler.process(pcm)


class _Encoder:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frame_bytes = 2 * rate * FRAME_MS // 1000
        self._start()

    def _start(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = self._rate
        context.layout = "mono"
        context.format = "s16"
        context.bit_rate = _BIT_RATE
        context.options = {"application": "voip", "frame_duration": str(FRAME_MS)}
        self._context = context
        self._rest = b""
        self._samples = 0

    def encode(self, pcm: bytes) -> list[bytes]:
        pcm = self._rest + pcm
        size = self._frame_bytes
        whole = len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        packets: list[bytes] = []
        for start in range(0, whole, size):
            packets += self._packets(pcm[start : start + size])
        return packets

    def flush(self) -> list[bytes]:
        rest = self._rest[: len(self._rest) & ~1]
        packets: list[bytes] = []
        if self._samples or rest:
            if rest:
                packets = self._packets(rest)
            packets += [bytes(packet) for packet in self._context.encode(None)]
        self._start()
        return packets

    def _packets(self, pcm: bytes) -> list[bytes]:
        frame = _frame(pcm, self._rate)
        frame.pts = self._samples
        self._samples += len(pcm) // 2
        return [bytes(packet) for packet in self._context.encode(frame)]


def build(audio_format: AudioFormat) -> Codec:
    """The codec of `audio_format`."""
    return Codec(
        audio_format, encoder=lambda: _Encoder(audio_format.rate), decoder=lambda: _Decoder(audio_format.rate)
    )
