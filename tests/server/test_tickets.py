"""Tickets: only the fleet makes them, nobody changes them, and they expire."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.server.tickets import Ticket, TicketRefused, Tickets

OLD, NEW = b"o" * 32, b"n" * 32
NOW = 1_000.0
TICKET = Ticket(call_id="call_1", server="a", attachment=1, holder="key/0123/", expires_at=2_000)


def flipped(text: str) -> str:
    return text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]


def test_a_ticket_is_what_it_was() -> None:
    tickets = Tickets([NEW])
    assert tickets.open(tickets.seal(TICKET), NOW) == TICKET
    assert tickets.seal(TICKET) != tickets.seal(TICKET)
    assert "call_1" not in str(base64.urlsafe_b64decode(tickets.seal(TICKET) + "=="))


def test_the_first_key_seals_and_all_open() -> None:
    before, between, after = Tickets([OLD]), Tickets([NEW, OLD]), Tickets([NEW])
    assert between.open(before.seal(TICKET), NOW) == TICKET
    assert after.open(between.seal(TICKET), NOW) == TICKET
    with pytest.raises(TicketRefused, match="not known here"):
        after.open(before.seal(TICKET), NOW)


def test_a_server_without_a_key_of_the_operators_has_one_of_its_own() -> None:
    with pytest.raises(TicketRefused, match="not known here"):
        Tickets().open(Tickets().seal(TICKET), NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flipped, "forged"),
        (lambda text: text[:30], "no ticket of this version"),
        (lambda text: "", "no ticket of this version"),
        (lambda text: "!" + text, "no ticket of this version"),
        (lambda text: "Ag" + text[2:], "no ticket of this version"),
        (lambda text: text * 30, "no ticket of this version"),
        (lambda text: "ü" * 80, "no ticket of this version"),
    ],
)
def test_what_is_no_ticket_is_refused(change: Callable[[str], str], reason: str) -> None:
    tickets = Tickets([NEW])
    with pytest.raises(TicketRefused, match=reason):
        tickets.open(change(tickets.seal(TICKET)), NOW)


def test_tickets_expire() -> None:
    tickets = Tickets([NEW])
    assert tickets.open(tickets.seal(TICKET), 1_999.9) == TICKET
    with pytest.raises(TicketRefused, match="expired 1 seconds ago"):
        tickets.open(tickets.seal(TICKET), 2_001)


def test_a_ticket_passes_for_no_state_nor_the_other_way_round() -> None:
    tickets = Tickets([NEW])
    with pytest.raises(TicketRefused, match="version"):
        tickets.open_state(tickets.seal(TICKET))
    with pytest.raises(TicketRefused, match="version"):
        tickets.open(tickets.seal_state(b"{}"), NOW)


@given(st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    tickets = Tickets([NEW])
    text = tickets.seal(TICKET)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TicketRefused):
        tickets.open(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), NOW)


@given(st.text(max_size=3_000))
def test_nothing_that_is_shown_does_harm(text: str) -> None:
    with pytest.raises(TicketRefused):
        Tickets([NEW]).open(text, NOW)
