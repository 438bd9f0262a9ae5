import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.agents.sentences import LONGEST, Sentences, sentences


def cut(text: str, size: int = 1) -> list[str]:
    collected = Sentences()
    found = [
        sentence
        for start in range(0, len(text), size)
        for sentence in collected.feed(text[start : start + size])
    ]
    rest = collected.flush()
    return [*found, rest] if rest else found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there! How are you? Fine.", ["Hello there!", "How are you?", "Fine."]),
        ("It is 3.5 degrees. Really.", ["It is 3.5 degrees.", "Really."]),
        (
            "Dr. Smith met J. R. Tolkien, e.g. here. Then he left",
            ["Dr. Smith met J. R. Tolkien, e.g. here.", "Then he left"],
        ),
        (
            'He said "no." Then "yes!" And left…  Maybe',
            ['He said "no."', 'Then "yes!"', "And left…", "Maybe"],
        ),
        ("First line\nsecond line\n\n1. One thing", ["First line", "second line", "1. One thing"]),
        ("  \n ", []),
        ("Visit legato.example now. Ok", ["Visit legato.example now.", "Ok"]),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_where_sentences_end(text: str, expected: list[str], size: int) -> None:
    assert cut(text, size) == expected


def test_endless_text_is_cut_at_a_pause_or_else_a_word() -> None:
    with_pause = "one two three, " * 40
    assert all(len(part) <= LONGEST for part in cut(with_pause))
    assert cut(with_pause)[0].endswith(",")
    assert all(len(part) <= LONGEST for part in cut("word " * 200))
    assert [len(part) for part in cut("x" * 500)] == [LONGEST, LONGEST, 500 - 2 * LONGEST]


@pytest.mark.parametrize("unit", ["a. ", "1. ", "Yes. ", "word ", "\n", "x"])
def test_a_book_in_one_piece_is_cut_as_fast_as_it_is_read(unit: str) -> None:
    """Texts with many full stops that end nothing once took minutes, with everybody else's call waiting."""
    text = unit * (120_000 // len(unit))
    assert "".join("".join(cut(text, len(text))).split()) == "".join(text.split())


def test_a_large_piece_is_looked_at_as_far_as_its_sentences_are_taken() -> None:
    collected = Sentences()
    found = collected.feed("One. " * 100_000)
    assert next(found) == "One."
    assert len(collected.flush()) < 2 * LONGEST


@given(st.text(alphabet='ab. !?\n,1"', max_size=400), st.integers(min_value=1, max_value=50))
def test_no_word_is_lost_and_pieces_do_not_matter(text: str, size: int) -> None:
    assert "".join("".join(cut(text, size)).split()) == "".join(text.split())
    assert cut(text, size) == cut(text, 1)


async def test_sentences_come_before_the_text_is_complete() -> None:
    written = []

    async def writer():
        for piece in ("One. ", "Two", ". ", "Three"):
            written.append(piece)
            yield piece

    found = sentences(writer())
    assert await anext(found) == "One."
    assert written == ["One. "] or written == ["One. ", "Two"]
    assert [sentence async for sentence in found] == ["Two.", "Three"]
