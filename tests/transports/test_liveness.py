"""The judgement about a peer: one interval after the other, without a clock."""

from legato.transports.liveness import Liveness


def test_a_peer_that_is_heard_is_alive() -> None:
    liveness = Liveness()
    for _ in range(3):
        liveness.heard = True
        assert liveness.look(0, congested=False) == "alive"


def test_silence_is_asked_about_once_and_then_final() -> None:
    liveness = Liveness()
    verdicts = [liveness.look(0, congested=False) for _ in range(3)]
    assert verdicts == ["alive", "ping", "gone"]


def test_an_answer_begins_anew() -> None:
    liveness = Liveness()
    liveness.look(0, congested=False)
    assert liveness.look(0, congested=False) == "ping"
    liveness.heard = True
    assert liveness.look(0, congested=False) == "alive"
    assert liveness.look(0, congested=False) == "ping"


def test_what_trickles_into_an_empty_buffer_proves_nothing() -> None:
    liveness = Liveness()
    liveness.look(0, congested=False)
    assert [liveness.look(sent, congested=False) for sent in (100, 200)] == ["ping", "gone"]


def test_progress_of_a_full_buffer_is_a_sign_of_life() -> None:
    liveness = Liveness()
    assert [liveness.look(sent, congested=True) for sent in (100, 200, 300)] == ["alive"] * 3
    assert [liveness.look(300, congested=True) for _ in range(2)] == ["alive", "stalled"]


def test_who_pauses_and_goes_on_reading_is_not_cut_off() -> None:
    liveness = Liveness()
    taken = (100, 100, 200, 200, 300)
    assert [liveness.look(sent, congested=True) for sent in taken] == ["alive"] * 5


def test_who_does_not_read_asks_without_waiting_for_an_answer() -> None:
    liveness = Liveness()
    assert [liveness.look(0, congested=False, deaf=True) for _ in range(3)] == ["ping"] * 3
    assert liveness.look(0, congested=False) == "ping"
    liveness.look(0, congested=True, deaf=True)
    assert liveness.look(0, congested=True, deaf=True) == "stalled"
