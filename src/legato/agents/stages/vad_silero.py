"""Voice activity by the Silero model (MIT, `models/silero_vad_16k.LICENSE`) on onnxruntime (extra
`assistant`).

Owns the model and when its probabilities mean speech: hysteresis, least speech, least silence, padding. It
must not know what is done with speech.
"""

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt
import onnxruntime

from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError

from .base import HEARING_RATE, SpeechEvent

__all__ = ["SileroVoiceActivity", "Thresholds", "build"]

WINDOW = 512
"""Samples that the model judges at a time: 32 ms."""
_CONTEXT = 64
"""Samples before the window that it looks at too."""
_HYSTERESIS = 0.15
_INAUDIBLE = 2.0**-10
"""Loudest sample (of 1.0) of a window that cannot be speech, so that a silent line costs next to nothing."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When probabilities mean speech. `start` is a probability; the others are lengths in samples."""

    start: float
    min_speech: int
    min_silence: int
    prefix: int


class SileroVoiceActivity:
    """The model, shared by all calls: detectors keep their state outside of it."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = files("legato.agents.stages") / "models" / "silero_vad_16k.onnx"
        with as_file(model) as path:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def open(self) -> "_Detector":
        """A detector for one caller."""
        return _Detector(self, self._thresholds)

    def judge(self, heard: _Floats, state: _Floats) -> tuple[float, _Floats]:
        """The probability of speech in one window (with its context before it), and the state after it."""
        if self._session is None:
            raise AgentError("voice activity has been closed")
        output, state = self._session.run(None, {"input": heard, "state": state, "sr": _RATE})
        return float(output[0, 0]), state

    async def close(self) -> None:
        """Release the model."""
        self._session = None


_RATE = np.array(HEARING_RATE, dtype=np.int64)


class _Detector:
    """One caller's state. Positions are samples; `_candidate` and `_quiet_since` are -1 while there is
    none."""

    def __init__(self, model: SileroVoiceActivity, thresholds: Thresholds) -> None:
        self._model = model
        self._limits = thresholds
        self._waiting = b""
        self._position = 0
        self._heard = np.zeros((1, _CONTEXT + WINDOW), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._speaking = False
        self._candidate = -1  # where speech began that is not yet long enough
        self._quiet_since = -1  # where silence began that is not yet long enough
        self._last_stop = 0

    @property
    def speaking(self) -> bool:
        """True between "started" and "stopped"."""
        return self._speaking

    @property
    def position(self) -> int:
        """Samples judged so far."""
        return self._position

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        """Judge more audio."""
        self._waiting += pcm
        whole = len(self._waiting) // (2 * WINDOW)
        samples = np.frombuffer(self._waiting, "<i2", count=whole * WINDOW).astype(np.float32) / 32768.0
        self._waiting = self._waiting[2 * WINDOW * whole :]
        found: list[SpeechEvent] = []
        for window in samples.reshape(whole, WINDOW):
            self._heard[0, :_CONTEXT] = self._heard[0, -_CONTEXT:]
            self._heard[0, _CONTEXT:] = window
            probability = 0.0
            if np.abs(window).max() > _INAUDIBLE:
                probability, self._state = self._model.judge(self._heard, self._state)
            self._position += WINDOW
            event = self._silence(probability) if self._speaking else self._speech(probability)
            if event is not None:
                found.append(event)
        return found

    def skip(self, samples: int) -> list[SpeechEvent]:
        """Audio is missing here."""
        self._position += len(self._waiting) // 2 + samples
        self._waiting = b""
        self._heard[:] = 0.0
        if not self._speaking:
            self._candidate = -1
        self._quiet_since = -1
        return []

    def _speech(self, probability: float) -> SpeechEvent | None:
        if probability < self._limits.start - (_HYSTERESIS if self._candidate >= 0 else 0.0):
            self._candidate = -1
            return None
        if self._candidate < 0:
            self._candidate = self._position - WINDOW
        if self._position - self._candidate < self._limits.min_speech:
            return None
        begin = max(self._candidate - self._limits.prefix, self._last_stop, 0)
        self._speaking, self._candidate, self._quiet_since = True, -1, -1
        return SpeechEvent("started", begin)

    def _silence(self, probability: float) -> SpeechEvent | None:
        if probability >= self._limits.start - _HYSTERESIS:
            self._quiet_since = -1
            return None
        if self._quiet_since < 0:
            self._quiet_since = self._position - WINDOW
        if self._position - self._quiet_since < self._limits.min_silence:
            return None
        self._speaking, self._last_stop = False, self._quiet_since
        return SpeechEvent("stopped", self._quiet_since)


def build(settings: AssistantSettings) -> SileroVoiceActivity:
    """The stage for `settings`. Loads the model."""
    samples_per_ms = HEARING_RATE // 1000
    return SileroVoiceActivity(
        Thresholds(
            start=settings.vad_threshold,
            min_speech=settings.min_speech_ms * samples_per_ms,
            min_silence=settings.silence_ms * samples_per_ms,
            prefix=settings.prefix_ms * samples_per_ms,
        )
    )
