"""Voice activity by the Silero model (MIT, `models/silero_vad_16k.LICENSE`) on onnxruntime (extra
`assistant`).

Owns the model and when its probabilities mean speech: hysteresis, least speech, least silence, padding. It
must not know what is done with speech.
"""

from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt
import onnxruntime

from legato.agents.settings import AssistantSettings
from legato.core.errors import AgentError

from .base import HEARING_RATE, Detection, SpeechEvent

__all__ = ["SileroVoiceActivity", "build"]

WINDOW = 512
"""Samples that the model judges at a time: 32 ms."""
_CONTEXT = 64
"""Samples before the window that it looks at too."""
_HYSTERESIS = 0.15
_LEAST = 0.01
"""No smaller probability is taken for speech, whatever the threshold, or a low one would never see an end."""
_PER_MS = HEARING_RATE // 1000
_INAUDIBLE = 2.0**-10
"""Loudest sample (of 1.0) of a window that cannot be speech, so that a silent line costs next to nothing."""

_Floats = npt.NDArray[np.float32]


class SileroVoiceActivity:
    """The model, shared by all calls: detectors keep their state outside of it."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = files("legato.agents.stages") / "models" / "silero_vad_16k.onnx"
        with as_file(model) as path:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def open(self, detection: Detection) -> "_Detector":
        """A detector for one caller."""
        return _Detector(self, detection)

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
    """One caller's state. Positions are samples; `_candidate` and `_quiet_since` are -1 while there is none.

    The model judges whole windows. The configured silence ends inside one as a rule: then the last `WINDOW`
    samples are judged at once, with a copy of the model's state, so that the end of speech is not told up to
    a window late. If they leave a doubt, the windows decide.
    """

    def __init__(self, model: SileroVoiceActivity, detection: Detection) -> None:
        self._model = model
        self._detection = detection
        self._waiting = b""
        self._position = 0
        self._heard = np.zeros((1, _CONTEXT + WINDOW), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._speaking = False
        self._candidate = -1  # where speech began that is not yet long enough
        self._quiet_since = -1  # where silence began that is not yet long enough
        self._doubted = -1  # the window inside which the silence was judged and found not to be one
        self._audible_until = 0
        self._last_stop = 0

    @property
    def speaking(self) -> bool:
        """True between "started" and "stopped"."""
        return self._speaking

    @property
    def position(self) -> int:
        """Samples judged so far."""
        return self._position

    def adjust(self, detection: Detection) -> None:
        """Judge by `detection` from here on."""
        self._detection = detection

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        """Judge more audio."""
        self._waiting += pcm
        here = len(self._waiting) // 2
        samples = np.frombuffer(self._waiting, "<i2", count=here).astype(np.float32) / 32768.0
        found: list[SpeechEvent] = []
        place = 0
        while True:
            missing = self._missing_silence()
            if 0 < missing < WINDOW and missing <= here - place:
                if self._silent_at(samples[place : place + missing]):
                    found.append(self._stop())
                else:
                    self._doubted = self._position
            if here - place < WINDOW:
                break
            event = self._judge(samples[place : place + WINDOW])
            place += WINDOW
            if event is not None:
                found.append(event)
        self._waiting = self._waiting[2 * place :]
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

    def _missing_silence(self) -> int:
        """Samples behind the last window until the silence is long enough; 0 if that is no question now."""
        if self._quiet_since < 0 or self._doubted == self._position:
            return 0
        return self._quiet_since + self._detection.silence_ms * _PER_MS - self._position

    def _silent_at(self, behind: _Floats) -> bool:
        """Whether the `WINDOW` samples that end with `behind`, which follows the last window, are quiet."""
        heard = np.concatenate((self._heard[:, behind.size :], behind[np.newaxis]), axis=1)
        if np.abs(heard[0, _CONTEXT:]).max() <= _INAUDIBLE:
            return True
        return self._model.judge(heard, self._state)[0] < self._least

    def _judge(self, window: _Floats) -> SpeechEvent | None:
        self._heard[0, :_CONTEXT] = self._heard[0, -_CONTEXT:]
        self._heard[0, _CONTEXT:] = window
        audible = np.flatnonzero(np.abs(window) > _INAUDIBLE)
        probability = 0.0
        if audible.size:
            probability, self._state = self._model.judge(self._heard, self._state)
        begin, self._position = self._position, self._position + WINDOW
        event = self._silence(probability, begin) if self._speaking else self._speech(probability, begin)
        if audible.size:
            self._audible_until = begin + int(audible[-1]) + 1
        return event

    @property
    def _least(self) -> float:
        """The probability below which speech that has begun is not heard any more."""
        return max(self._detection.threshold - _HYSTERESIS, _LEAST)

    def _speech(self, probability: float, begin: int) -> SpeechEvent | None:
        if probability < (self._least if self._candidate >= 0 else max(self._detection.threshold, _LEAST)):
            self._candidate = -1
            return None
        if self._candidate < 0:
            self._candidate = begin
        if self._position - self._candidate < self._detection.min_speech_ms * _PER_MS:
            return None
        start = max(self._candidate - self._detection.prefix_ms * _PER_MS, self._last_stop, 0)
        self._speaking, self._candidate, self._quiet_since = True, -1, -1
        return SpeechEvent("started", start)

    def _silence(self, probability: float, begin: int) -> SpeechEvent | None:
        if probability >= self._least:
            self._quiet_since = -1
            return None
        if self._quiet_since < 0:
            # The window before was speech, perhaps not to its end.
            self._quiet_since = min(begin, max(self._audible_until, begin - WINDOW))
        if self._position - self._quiet_since < self._detection.silence_ms * _PER_MS:
            return None
        return self._stop()

    def _stop(self) -> SpeechEvent:
        self._speaking, self._last_stop, self._quiet_since = False, self._quiet_since, -1
        return SpeechEvent("stopped", self._last_stop)


def build(settings: AssistantSettings) -> SileroVoiceActivity:
    """The stage; nothing in `settings` changes it. Loads the model."""
    return SileroVoiceActivity()
