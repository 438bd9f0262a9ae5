"""Numbers and sums as people say them: "twelve times seven", "3.5 plus two". Must not know conversations."""

import re
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["duration_seconds", "in_words", "number", "result"]

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: value for value, word in enumerate(_UNITS)} | {
    word: 20 + 10 * place for place, word in enumerate(_TENS)
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_HOMOPHONES = {
    "to": "two",
    "too": "two",
    "for": "four",
    "fore": "four",
    "won": "one",
    "ate": "eight",
    "a": "one",
    "an": "one",
}
_OPERATORS = {
    "plus": "+", "add": "+", "added": "+", "+": "+",
    "minus": "-", "less": "-", "-": "-",
    "times": "*", "multiplied": "*", "x": "*", "*": "*",
    "divided": "/", "over": "/", "/": "/",
}  # fmt: skip
_DIGITS = re.compile(r"\d+(?:\.\d+)?$")
_TOKENS = re.compile(r"\d+(?:\.\d+)?|[a-z']+|[-+*/]")
_MOST_TOKENS = 200
"""Nobody says a longer sum, or a longer time; to look for one in a whole book would take as long."""
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600}


def number(words: Sequence[str]) -> Fraction | None:
    """The number that all of `words` name together, or None. "one hundred and five", "12", "three point
    five"."""
    if "point" in words:
        point = list(words).index("point")
        whole, digits = number(words[:point]), [_SMALL.get(word, -1) for word in words[point + 1 :]]
        if whole is None or not digits or not all(0 <= digit <= 9 for digit in digits):
            return None
        return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))
    total, group, seen = Fraction(0), Fraction(0), False
    for word in words:
        if _DIGITS.match(word):
            group += Fraction(word)
        elif word in _SMALL:
            group += _SMALL[word]
        elif word == "hundred":
            group = max(group, Fraction(1)) * 100
        elif word in _SCALES:
            total, group = total + max(group, Fraction(1)) * _SCALES[word], Fraction(0)
        elif word != "and" or not seen:
            return None
        seen = True
    return total + group if seen else None


def result(text: str) -> Fraction | None:
    """The result of the sum in `text`, or None if there is none. Raises ZeroDivisionError."""
    tokens = [token for token in _TOKENS.findall(text.lower()) if token != "by"]
    places = [place for place, token in enumerate(tokens) if token in _OPERATORS]
    if not places or len(tokens) > _MOST_TOKENS:
        return None
    bounds = [-1, *places, len(tokens)]
    values: list[Fraction] = []
    for index in range(len(bounds) - 1):
        words = tokens[bounds[index] + 1 : bounds[index + 1]]
        value = _last_number(words) if index == 0 else _first_number(words)
        if value is None:
            return None
        values.append(value)
    return _evaluate(values, [_OPERATORS[tokens[place]] for place in places])


def duration_seconds(text: str) -> int | None:
    """The length of time named in `text`, such as "two minutes and thirty seconds", in seconds."""
    tokens = _TOKENS.findall(text.lower())
    if len(tokens) > _MOST_TOKENS:
        return None
    total, start = Fraction(0), 0
    for place, token in enumerate(tokens):
        unit = _SECONDS.get(token.rstrip("s"))
        if unit is None:
            continue
        value = (
            Fraction(1, 2)
            if tokens[start:place][-2:] == ["half", "an"]
            else _last_number(tokens[start:place])
        )
        if value is None:
            return None
        total, start = total + value * unit, place + 1
    return int(total) if start and total >= 1 else None


def in_words(value: Fraction) -> str:
    """`value` in digits as it should be spoken: at most two decimals."""
    rounded = round(value, 2)
    if rounded.denominator == 1:
        text = str(abs(rounded.numerator))
    else:
        text = f"{float(abs(rounded)):.2f}".rstrip("0")
    return f"minus {text}" if rounded < 0 else text


def _plain(words: Sequence[str]) -> list[str]:
    return [_HOMOPHONES.get(word, word) for word in words]


def _last_number(words: Sequence[str]) -> Fraction | None:
    """The longest number at the end of `words`; words that only sound like one count if nothing else is
    there."""
    for heard in (list(words), _plain(words[-1:])):
        for start in range(len(heard)):
            if heard[start] != "and" and (value := number(heard[start:])) is not None:
                return value
    return None


def _first_number(words: Sequence[str]) -> Fraction | None:
    """The longest number at the beginning of `words`."""
    for heard in (list(words), _plain(words[:1])):
        for end in range(len(heard), 0, -1):
            if (value := number(heard[:end])) is not None:
                return value
    return None


def _evaluate(values: list[Fraction], operators: list[str]) -> Fraction:
    sums, signs = [values[0]], []
    for operator, value in zip(operators, values[1:], strict=True):
        if operator == "*":
            sums[-1] *= value
        elif operator == "/":
            sums[-1] /= value
        else:
            signs.append(operator)
            sums.append(value)
    total = sums[0]
    for sign, value in zip(signs, sums[1:], strict=True):
        total += value if sign == "+" else -value
    return total
