"""Words and samples: what was heard is a beginning of what was said, and never more than that."""

from hypothesis import given
from hypothesis import strategies as st

from legato.core.dialects.realtime.spoken_text import SpokenText


def an_answer(*pieces: tuple[str, int], sent: int, complete: bool = True) -> SpokenText:
    spoken = SpokenText()
    for text, at_sample in pieces:
        spoken.add(text, at_sample)
    spoken.note_sent(sent)
    spoken.complete = complete
    return spoken


def test_pieces_are_joined_by_a_space_where_neither_side_brings_one() -> None:
    spoken = SpokenText()
    assert spoken.add("One.", 0) == "One."
    assert spoken.add("Two.", 10) == " Two."
    assert spoken.add(" Three.\n", 20) == " Three.\n"
    assert spoken.add("Four.", 30) == "Four."
    assert spoken.add("", 40) == ""
    assert spoken.text == "One. Two. Three.\nFour."
    assert spoken.size == len(spoken.text)


def test_nothing_is_heard_at_first() -> None:
    spoken = an_answer(("One two.", 0), sent=100)
    assert (spoken.heard, spoken.heard_text()) == (0, "")


def test_a_piece_is_heard_when_the_next_one_begins() -> None:
    spoken = an_answer(("One two.", 0), ("Three four.", 100), sent=200)
    assert spoken.heard_text(99) == "One"
    assert spoken.heard_text(100) == "One two."
    assert spoken.heard_text(150) == "One two. Three"
    assert spoken.heard_text(200) == "One two. Three four."
    assert spoken.heard_text(900) == "One two. Three four."


def test_text_that_has_no_sound_of_its_own_is_heard_with_the_end() -> None:
    spoken = an_answer(("One.", 0), ("Two.", 100), sent=100)
    assert spoken.heard_text(99) == ""
    assert spoken.heard_text(100) == "One. Two."
    spoken.complete = False
    assert spoken.heard_text(100) == "One."


def test_silence_before_the_first_word() -> None:
    assert an_answer(("One.", 50), sent=100).heard_text(40) == ""


def test_a_piece_cannot_begin_before_the_one_in_front_of_it() -> None:
    spoken = an_answer(("One.", 50), ("Two.", 10), sent=100)
    assert spoken.heard_text(40) == ""


def test_the_position_never_goes_back_or_beyond_the_end() -> None:
    spoken = an_answer(("One.", 0), sent=100)
    assert spoken.note_heard(60)
    assert not spoken.note_heard(40)
    assert spoken.note_heard(400)
    assert spoken.heard == 100


def test_truncation_is_final() -> None:
    spoken = an_answer(("One two.", 0), ("Three four.", 100), sent=200)
    spoken.note_heard(180)
    spoken.truncate(150)
    assert (spoken.length, spoken.heard, spoken.text) == (150, 150, "One two. Three")
    assert spoken.stopped
    spoken.note_sent(100)
    assert spoken.add("Five.", 200) == ""
    assert not spoken.note_heard(200)
    assert (spoken.length, spoken.heard_text()) == (150, "One two. Three")
    spoken.truncate(50)
    assert spoken.text == "One"
    spoken.truncate(150)
    assert spoken.text == "One"


def test_what_plays_on_will_be_heard() -> None:
    spoken = an_answer(("One two.", 0), sent=100)
    spoken.note_heard(50)
    assert spoken.certain_text() == "One two."
    spoken.stopped = True
    assert spoken.certain_text() == "One"


PIECES = st.lists(st.tuples(st.text("ab \n\t.", max_size=12), st.integers(0, 300)), max_size=6)


@given(PIECES, st.integers(0, 400), st.booleans(), st.lists(st.integers(0, 500), min_size=2, max_size=2))
def test_more_is_heard_later_and_it_is_a_beginning_of_the_text(
    pieces: list[tuple[str, int]], sent: int, complete: bool, positions: list[int]
) -> None:
    spoken = an_answer(*pieces, sent=sent, complete=complete)
    earlier, later = (spoken.heard_text(position) for position in sorted(positions))
    assert later.startswith(earlier)
    assert spoken.text.startswith(later)
    spoken.truncate(positions[0])
    assert spoken.text == spoken.heard_text() == spoken.certain_text()
    assert spoken.length <= sent
