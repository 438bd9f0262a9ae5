"""A changing hypothesis as text that only grows, because what a caller was told cannot be taken back.

Must not know where hypotheses come from.
"""

from collections import deque

__all__ = ["GrowingText"]

_AGREEING = 3


class GrowingText:
    """A hypothesis over time. Words count as settled when the last `_AGREEING` hypotheses begin with them and
    go on behind them, because the newest word is often still the beginning of another."""

    def __init__(self) -> None:
        self._recent: deque[list[str]] = deque(maxlen=_AGREEING)
        self._told: list[str] = []

    def grow(self, text: str) -> str:
        """What can be told now beyond what was told before; all pieces join to the text told."""
        self._recent.append(text.split())
        if len(self._recent) < _AGREEING:
            return ""
        settled: list[str] = []
        for words in zip(*(hypothesis[:-1] for hypothesis in self._recent), strict=False):
            if len(set(words)) > 1:
                break
            settled.append(words[0])
        return self._tell(settled)

    def finish(self, text: str) -> str:
        """The rest, if the final text continues what was told."""
        return self._tell(text.split())

    def _tell(self, words: list[str]) -> str:
        told = len(self._told)
        if len(words) <= told or words[:told] != self._told:
            return ""
        self._told = words
        return (" " if told else "") + " ".join(words[told:])
