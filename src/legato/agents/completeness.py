"""Whether what somebody said so far sounds complete, and how long to wait for more if it does not.

Owns English: the words with which nobody ends. A pure function of the words; must not know audio or clocks.
"""

import re
from enum import Enum

__all__ = ["SETTLED_MS", "Completeness", "completeness", "waiting_ms"]

SETTLED_MS = 300
"""Silence behind words that are complete, and the least there ever is."""

_WORD = re.compile(r"[a-z0-9']+")
_BROKEN_OFF = ("...", "…", ",", ";", ":", "-", "–", "—")
_ENDED = (".", "!")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILLERS = _words("um uh uhm er erm ah hm hmm mm well like so basically actually")
_GO_ON = _words(
    "a an the my your its our their every each another "
    "and but or nor because if when while although though since unless until which whose whether than as "
    "except very really quite i we who's i'm we're they're it's that's there's i'll we'll i'd let's gonna "
    "wanna"
)
_OPERATORS = _words("plus minus times divided multiplied point dot over")
_PREPOSITIONS = _words(
    "of to at for from with by about into onto between among during without within against toward towards "
    "through per via"
)
_AUXILIARIES = _words(
    "is are was were am be been will would can could should shall may might must do does did has have had "
    "want wants need needs don't doesn't didn't can't won't isn't aren't"
)
_SUBJECTS = _words("i it we you they he she that")
_QUESTIONS = _words("what who where which when why how whom whose")
_ASKING = _QUESTIONS | _words("is are was were do does did can could will would should may have has")
_ORDERS = _words(
    "tell set play stop turn give show make call send open close start cancel add remove find read say "
    "remind book order repeat please let go take put"
)
_CLOSING = _words(
    "yes yeah yep no nope okay ok right sure thanks please hello hi hey bye goodbye stop enough correct "
    "exactly never nothing there now today tomorrow"
)
_OPEN_PHRASES = (
    "i want", "i need", "i would like", "i'd like", "can you", "could you", "would you", "will you",
    "tell me", "give me", "show me", "let me", "what about", "how about", "i think", "i mean", "you know",
    "the thing is", "what if", "in order", "set a", "kind of", "sort of", "such as",
)  # fmt: skip
_DIGITS = _words("zero oh one two three four five six seven eight nine")
_NUMBERS = _DIGITS | _words(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty "
    "fifty sixty seventy eighty ninety hundred thousand million"
)
_MEASURED = _words("for in after timer alarm every another")
"""Words behind which a bare number still lacks what it counts."""
_WHOLE_NUMBER = 7
"""Digits in a row that may be the whole of a telephone number."""


class Completeness(Enum):
    """How words sound: `COMPLETE`, certainly `UNFINISHED`, or `OPEN` either way."""

    COMPLETE = "complete"
    OPEN = "open"
    UNFINISHED = "unfinished"


def completeness(text: str) -> Completeness:
    """Judge what was said so far, with punctuation or without."""
    stripped = text.strip().lower()
    words = _WORD.findall(stripped)
    if not words:
        return Completeness.OPEN
    unfinished = stripped.endswith(_BROKEN_OFF) or _goes_on(words) or _lacks_its_number(words)
    if stripped.endswith("?") or (not unfinished and _is_answer(words)):
        return Completeness.COMPLETE
    if stripped.endswith(_ENDED) and not stripped.endswith("..."):
        # A recogniser puts a full stop behind anything that is followed by silence.
        return Completeness.OPEN if unfinished else Completeness.COMPLETE
    if unfinished:
        return Completeness.UNFINISHED
    if words[-1] in _CLOSING or (len(words) >= 2 and words[-2:] == ["thank", "you"]):
        return Completeness.COMPLETE
    whole = len(words) >= 3 and (words[0] in _ASKING or words[0] in _ORDERS)
    return Completeness.COMPLETE if whole else Completeness.OPEN


def waiting_ms(text: str, max_wait_ms: int) -> int:
    """How long to be silent after `text` before it counts as all there is: at most `max_wait_ms`, and
    `SETTLED_MS` if it is complete."""
    waits = {
        Completeness.COMPLETE: SETTLED_MS,
        Completeness.OPEN: max_wait_ms // 4,
        Completeness.UNFINISHED: max_wait_ms,
    }
    return max(SETTLED_MS, waits[completeness(text)])


def _goes_on(words: list[str]) -> bool:
    """Whether nobody would end with the last word."""
    last, said = words[-1], " ".join(words)
    if any(said == phrase or said.endswith(" " + phrase) for phrase in _OPEN_PHRASES):
        return True
    if last in _GO_ON or (last in _OPERATORS and words[-2:-1] and words[-2] in _NUMBERS):
        return True
    if last in _FILLERS:
        return len(words) > 1 or last not in ("well", "so", "like")
    if last in _PREPOSITIONS:  # "what is this for"
        return words[0] not in _QUESTIONS or len(words) < 4
    return last in _AUXILIARIES and not _is_answer(words)


def _is_answer(words: list[str]) -> bool:
    """Whether it is an answer like "yes I do" or "it is"."""
    return 2 <= len(words) <= 3 and words[-1] in _AUXILIARIES and words[-2] in _SUBJECTS


def _lacks_its_number(words: list[str]) -> bool:
    """Whether a number has just begun: "set a timer for ten", "my number is five five five"."""
    numbers = 0
    while numbers < len(words) and (words[-1 - numbers] in _NUMBERS or words[-1 - numbers].isdigit()):
        numbers += 1
    if not numbers or numbers == len(words):
        return False
    if words[-1 - numbers] in _MEASURED:
        return True
    digits = "".join(word if word.isdigit() else "0" for word in words[-numbers:])
    in_a_row = all(word in _DIGITS or word.isdigit() for word in words[-numbers:])
    return in_a_row and 3 <= len(digits) < _WHOLE_NUMBER and numbers >= 3
