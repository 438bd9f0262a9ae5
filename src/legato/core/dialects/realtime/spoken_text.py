"""Which words sound at which sample of a spoken answer, and so which of them were heard.

Owns the arithmetic between text and sound of one item. Must not know events, responses or players: samples
(of the output format) are told to it.
"""

import re
from bisect import bisect_right

_WORD = re.compile(r"\S+")


class SpokenText:
    """The words of one spoken answer, while it is being made and for ever after.

    Where the sound of a piece of text begins is known; inside a piece it is taken to be even, and a word
    counts as heard once its share of the sound was played whole.
    """

    __slots__ = ("_cut", "_heard", "_starts", "_texts", "complete", "sent", "stopped")

    def __init__(self) -> None:
        self.sent = 0
        """Samples of this answer that were given to the caller."""
        self.complete = False
        """Whether there is no more to come."""
        self.stopped = False
        """Whether nothing more of it will be played; set by whoever silences the player."""
        self._heard = 0
        self._cut: int | None = None
        self._starts: list[int] = []
        self._texts: list[str] = []

    @property
    def length(self) -> int:
        """Samples that count: what was sent, or what truncation left of it."""
        return self.sent if self._cut is None else self._cut

    @property
    def heard(self) -> int:
        """Samples that were heard, as far as is known."""
        return self._heard

    @property
    def size(self) -> int:
        """Characters of all text given, cut or not."""
        return sum(map(len, self._texts))

    @property
    def text(self) -> str:
        """The text given so far, or what truncation left of it."""
        return "".join(self._texts) if self._cut is None else self.heard_text(self._cut)

    def add(self, text: str, at_sample: int) -> str:
        """Note that the sound of `text` begins at `at_sample`; returns how it continues the text before it.

        Pieces are joined by a space where neither side brings one. A position before that of the last piece
        counts as the last piece's.
        """
        if self._cut is not None or not text:
            return ""
        if self._texts and not (text[0].isspace() or self._texts[-1][-1].isspace()):
            text = " " + text
        self._starts.append(max(at_sample, self._starts[-1] if self._starts else 0))
        self._texts.append(text)
        return text

    @property
    def pieces(self) -> tuple[tuple[int, str], ...]:
        """Each piece of the text behind the sample at which it begins to sound."""
        return tuple(zip(self._starts, self._texts, strict=True))

    @property
    def cut(self) -> int | None:
        """Where it was truncated, if it was."""
        return self._cut

    def break_off(self, samples: int) -> None:
        """There is no more of it than these samples, and no more of the text than surely sounds in them.

        Of the last piece that is known of an answer still being made nobody knows how long it sounds: it
        counts only once it is whole.
        """
        if self.complete and samples >= self.sent:
            return
        # Nothing sounds in no sample, not even a piece of no length.
        begun = bisect_right(self._starts, samples) if samples else 0
        if begun:
            before = "".join(self._texts[: begun - 1])
            unsure = not self.complete and begun == len(self._starts)
            self._texts[begun - 1 :] = ["" if unsure else self.heard_text(samples)[len(before) :]]
            del self._starts[begun:]
        else:
            self._texts, self._starts = [], []
        self.sent = samples
        self._heard = min(self._heard, samples)
        self.complete = True

    def note_sent(self, samples: int) -> None:
        """Note that so many more samples were given to the caller; behind a cut nothing counts."""
        if self._cut is None:
            self.sent += samples

    def note_heard(self, samples: int) -> bool:
        """Note the player's position, which never goes back or beyond the end; returns whether it moved."""
        before, self._heard = self._heard, max(self._heard, min(samples, self.length))
        return self._heard > before

    def truncate(self, samples: int) -> None:
        """Cut sound and text: nothing behind `samples` was heard, everything before them was."""
        self.stopped = True
        self._cut = self._heard = min(samples, self.length)

    def certain_text(self) -> str:
        """The text that was heard, or will be: all of it while nobody stops the player."""
        return self.heard_text() if self.stopped else self.text

    def heard_text(self, samples: int | None = None) -> str:
        """The beginning of the text that sounds before `samples` (default: what was heard), cut at a word."""
        samples = min(self._heard if samples is None else samples, self.length)
        if self.complete and samples >= self.sent:
            return "".join(self._texts)
        count = bisect_right(self._starts, samples)
        if count == 0 or samples == 0:
            return ""
        start, last = self._starts[count - 1], self._texts[count - 1]
        end = self._starts[count] if count < len(self._starts) else max(self.sent, start + 1)
        words = [word.end() for word in _WORD.finditer(last)]
        heard = len(words) * (samples - start) // (end - start)
        return "".join(self._texts[: count - 1]) + last[: words[heard - 1] if heard else 0]
