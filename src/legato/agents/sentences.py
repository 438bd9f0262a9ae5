"""Cuts text that is still being written into sentences, so that the first can be spoken before the last
exists.

Owns where a sentence ends; must not know who writes or speaks.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator

__all__ = ["Sentences", "sentences"]

LONGEST = 240
"""Characters after which a sentence is cut at the last pause or word, so that endless text is spoken too."""

_END = re.compile(r"""([.!?…]+|[。！？])(["'”’)\]]*)(?=\s|$)|\n+""")
_PAUSE = re.compile(r"[,;:–—](?=\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|approx|jr|sr)\.$", re.IGNORECASE
)
_NUMBERED = re.compile(r"(?:^|\n)\s*\d+\.$")
_TAIL = 24
"""Characters before a full stop that tell what it is for; more are not looked at, however many stops there
are."""


class Sentences:
    """Collects pieces of text and hands out whole sentences, without the white space around them."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> Iterator[str]:
        """Add text; gives the sentences that are certainly complete: something follows their end. They are to
        be taken all; a large piece is only looked at as far as they are."""
        for start in range(0, len(piece), LONGEST):
            self._text += piece[start : start + LONGEST]
            while (end := self._first_end()) is not None:
                sentence, self._text = self._text[:end].strip(), self._text[end:].lstrip()
                if sentence:
                    yield sentence

    def flush(self) -> str:
        """The rest; afterwards nothing is left."""
        rest, self._text = self._text.strip(), ""
        return rest

    def _first_end(self) -> int | None:
        for match in _END.finditer(self._text):
            if match.end() == len(self._text):
                break
            if match[0].isspace():
                return match.end()
            stop = match.end(1)
            before = self._text[:stop] if stop <= _TAIL else "…" + self._text[stop - _TAIL : stop]
            if match[1] == "." and (_ABBREVIATION.search(before) or _NUMBERED.search(before)):
                continue
            return match.end()
        if len(self._text) <= LONGEST:
            return None
        pauses = [match.end() for match in _PAUSE.finditer(self._text, 0, LONGEST)]
        if pauses:
            return pauses[-1]
        space = self._text.rfind(" ", 0, LONGEST)
        return space if space > 0 else LONGEST


async def sentences(text: AsyncIterable[str]) -> AsyncGenerator[str, None]:
    """The sentences of `text`, each as soon as it is complete."""
    collected = Sentences()
    async for piece in text:
        for sentence in collected.feed(piece):
            yield sentence
    if rest := collected.flush():
        yield rest
