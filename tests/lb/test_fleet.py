"""The life of servers in virtual time."""

from dataclasses import replace

import pytest
from tests.lb.fleets import SECOND, TERMS, at, fleet_of, listing, name, named, one, states, weights

from legato.lb.fleet import Change, Fleet
from legato.lb.servers import MAX_SERVERS, Listed, Snapshot
from legato.lb.states import State
from legato.lb.weights import STEPS, Load

JOINING, READY, DRAINING, DEAD = State.JOINING, State.READY, State.DRAINING, State.DEAD


def silence(fleet: Fleet, number: int, now_us: int) -> None:
    for _ in range(fleet.terms.fall):
        fleet.missed(at(number), now_us)


def test_a_listed_server_gets_calls_when_it_answers() -> None:
    fleet = Fleet(TERMS, named)
    fleet.listed(listing(1, 2), 0)
    assert states(fleet) == {1: JOINING, 2: JOINING}
    assert weights(fleet) == {1: 0, 2: 0}
    fleet.answered(at(2), 700, 10)
    assert states(fleet) == {1: JOINING, 2: READY}
    assert weights(fleet) == {1: 0, 2: STEPS}
    assert fleet.changes()[-1] == Change(address=at(2), before=JOINING, after=READY, reason="it answers")
    assert fleet.changes() == []
    assert fleet.members[at(2)].rtt_us == 700


def test_backends_stand_in_the_order_of_addresses_whatever_the_list_says() -> None:
    one_way, other_way = Fleet(TERMS, named), Fleet(TERMS, named)
    one_way.listed(listing(3, 10, 2), 0)
    other_way.listed(listing(10, 2, 3), 0)
    assert one_way.backends() == other_way.backends()
    assert [backend.server_ids for backend in one_way.backends()] == [(name(2),), (name(3),), (name(10),)]


def test_a_server_that_misses_a_probe_or_two_loses_nothing() -> None:
    fleet = fleet_of(1, 2)
    version = fleet.version
    for _ in range(10):
        fleet.missed(at(1), SECOND)
        fleet.missed(at(1), SECOND)
        fleet.answered(at(1), 1, SECOND)
    assert states(fleet) == {1: READY, 2: READY}
    assert fleet.version == version


def test_a_silent_server_is_dead_and_comes_back_when_it_answers() -> None:
    fleet = fleet_of(1, 2)
    silence(fleet, 1, 5 * SECOND)
    assert states(fleet) == {1: DEAD, 2: READY}
    assert fleet.backends()[0].dead_since_us == 5 * SECOND
    assert weights(fleet)[1] == 0
    fleet.on_time(3600 * SECOND)
    assert states(fleet)[1] is DEAD, "it is listed, so it is asked for ever"
    fleet.answered(at(1), 1, 3600 * SECOND)
    assert states(fleet)[1] is READY


def test_a_server_that_leaves_the_list_drains() -> None:
    fleet = fleet_of(1, 2)
    fleet.listed(listing(2), SECOND)
    assert states(fleet) == {1: DRAINING, 2: READY}
    assert fleet.next_deadline() == SECOND + TERMS.drain_us
    fleet.on_time(SECOND + TERMS.drain_us - 1)
    assert 1 in states(fleet)
    fleet.on_time(SECOND + TERMS.drain_us)
    assert states(fleet) == {2: READY}
    assert fleet.changes()[-1].after is State.GONE


def test_a_server_that_left_and_died_is_forgotten_after_the_grace_time() -> None:
    fleet = fleet_of(1, 2)
    fleet.listed(listing(2), SECOND)
    silence(fleet, 1, 2 * SECOND)
    assert fleet.next_deadline() == 2 * SECOND + TERMS.grace_us
    fleet.on_time(2 * SECOND + TERMS.grace_us)
    assert states(fleet) == {2: READY}


def test_a_server_that_was_dead_before_it_left_has_its_grace_time_too() -> None:
    fleet = fleet_of(1, 2)
    silence(fleet, 1, SECOND)
    fleet.listed(listing(2), 100 * SECOND)
    assert fleet.next_deadline() == 100 * SECOND + TERMS.grace_us


def test_a_server_that_returns_to_the_list_takes_calls_at_once() -> None:
    fleet = fleet_of(1, 2)
    fleet.listed(listing(2), SECOND)
    fleet.listed(listing(1, 2), 2 * SECOND)
    assert states(fleet) == {1: READY, 2: READY}
    assert fleet.next_deadline() is None


def test_a_flapping_list_kills_nobody() -> None:
    fleet = fleet_of(1, 2, 3)
    for round_ in range(100):
        fleet.listed(listing(1, 2) if round_ % 2 else listing(2, 3), round_ * SECOND)
        assert set(states(fleet).values()) <= {READY, DRAINING}
    fleet.listed(listing(1, 2, 3), 100 * SECOND)
    assert states(fleet) == {1: READY, 2: READY, 3: READY}


def test_an_empty_list_is_not_believed() -> None:
    fleet = fleet_of(1, 2)
    version = fleet.version
    fleet.listed(Snapshot(servers=(), problems=("the file is empty",)), SECOND)
    assert states(fleet) == {1: READY, 2: READY}
    assert fleet.version == version
    assert fleet.problems[0] == "the file is empty"
    assert "are kept" in fleet.problems[1]
    fleet.listed(listing(1), 2 * SECOND)
    assert fleet.problems == ()


def test_an_empty_first_list_is_told() -> None:
    fleet = Fleet(TERMS, named)
    fleet.listed(Snapshot(servers=()), 0)
    assert fleet.backends() == []
    assert "nobody to send to" in fleet.problems[0]


def test_half_a_list_is_used_and_the_rest_told() -> None:
    fleet = fleet_of(1)
    fleet.listed(listing(1, one(2, weight=-5), 3), SECOND)
    assert states(fleet) == {1: READY, 3: JOINING}
    assert "weight -5" in fleet.problems[0]


@pytest.mark.parametrize("who", ["list", "server", "operator"])
def test_whoever_says_so_a_server_drains_and_returns(who: str) -> None:
    fleet = fleet_of(1, 2)
    for draining, state in ((True, DRAINING), (False, READY)):
        if who == "list":
            fleet.listed(listing(one(1, draining=draining), 2), SECOND)
        elif who == "server":
            fleet.reported(at(1), Load(calls=1, capacity=9, draining=draining), SECOND)
        else:
            assert fleet.drain(at(1), not draining, SECOND)
        assert states(fleet) == {1: state, 2: READY}
        assert (weights(fleet)[1] > 0) is (state is READY)


def test_draining_an_unknown_server_is_told() -> None:
    assert not fleet_of(1).drain(at(9), False, 0)


def test_a_server_that_says_it_drains_is_believed_after_it_stopped_reporting() -> None:
    fleet = fleet_of(1, 2)
    fleet.reported(at(1), Load(calls=1, capacity=9, draining=True), 0)
    fleet.on_time(TERMS.report_us * 2)
    assert states(fleet)[1] is DRAINING
    silence(fleet, 1, TERMS.report_us * 2)
    fleet.answered(at(1), 1, TERMS.report_us * 3)
    assert states(fleet)[1] is READY, "it is a new process, of which nothing is known"


def test_a_draining_server_that_dies_and_answers_again_drains() -> None:
    fleet = fleet_of(1, 2)
    fleet.drain(at(1), False, 0)
    silence(fleet, 1, SECOND)
    fleet.answered(at(1), 1, 2 * SECOND)
    assert states(fleet)[1] is DRAINING


def test_a_server_that_drains_when_it_is_first_listed_gets_no_call() -> None:
    fleet = Fleet(TERMS, named)
    fleet.listed(listing(one(1, draining=True), 2), 0)
    fleet.answered(at(1), 1, 0)
    assert states(fleet)[1] is DRAINING
    assert all(change.after is not READY for change in fleet.changes())


def test_a_server_that_is_wanted_again_still_has_to_answer_as_often_as_asked_for() -> None:
    fleet = Fleet(replace(TERMS, rise=3), named)
    fleet.listed(listing(one(1, draining=True), 2), 0)
    fleet.answered(at(1), 1, 0)
    fleet.listed(listing(1, 2), SECOND)
    assert states(fleet)[1] is JOINING
    for _ in range(2):
        fleet.answered(at(1), 1, SECOND)
    assert states(fleet)[1] is READY


def test_servers_that_left_make_room_for_those_that_came() -> None:
    fleet = Fleet(TERMS, lambda address: (address[0].encode()[:15],))
    many = [Listed(address=(f"10.0.{number >> 8}.{number & 255}", 4434)) for number in range(MAX_SERVERS + 5)]
    fleet.listed(Snapshot(servers=tuple(many[:10])), 0)
    fleet.listed(Snapshot(servers=tuple(many[5:20])), 1)
    fleet.listed(Snapshot(servers=tuple(many[10:])), 2)
    assert len(fleet.members) == MAX_SERVERS
    kept = [server.address in fleet.members for server in many[:10]]
    assert kept == [False] * 5 + [True] * 5, "who left first goes first"
    gone = [change.reason for change in fleet.changes() if change.after is State.GONE]
    assert len(gone) == 5
    assert "no room" in gone[0]


def test_free_places_shift_new_calls_but_not_all_the_time() -> None:
    fleet = fleet_of(1, 2)
    fleet.reported(at(1), Load(calls=0, capacity=100), TERMS.rebalance_us)
    fleet.reported(at(2), Load(calls=50, capacity=100), TERMS.rebalance_us)
    assert fleet.next_deadline() == 2 * TERMS.rebalance_us
    version = fleet.version
    fleet.on_time(2 * TERMS.rebalance_us)
    assert weights(fleet) == {1: STEPS, 2: STEPS // 2}
    assert fleet.version == version + 1
    fleet.reported(at(2), Load(calls=51, capacity=100), 4 * TERMS.rebalance_us)
    assert fleet.version == version + 1, "a call more changes nothing"


def test_an_old_report_counts_no_more() -> None:
    fleet = fleet_of(1, 2)
    fleet.reported(at(2), Load(calls=100, capacity=100), TERMS.rebalance_us)
    fleet.reported(at(1), Load(calls=0, capacity=100), TERMS.rebalance_us)
    fleet.on_time(2 * TERMS.rebalance_us)
    assert weights(fleet) == {1: STEPS, 2: 0}
    fleet.on_time(TERMS.rebalance_us + TERMS.report_us)
    fleet.on_time(2 * TERMS.rebalance_us + TERMS.report_us)
    assert weights(fleet) == {1: STEPS, 2: STEPS}


def test_a_new_weight_in_the_list_counts_at_once() -> None:
    fleet = fleet_of(1, 2)
    fleet.listed(listing(one(1, weight=4), 2), 1)
    assert weights(fleet) == {1: STEPS, 2: STEPS // 4}


def test_facts_about_strangers_and_the_dead_are_ignored() -> None:
    fleet = fleet_of(1)
    fleet.answered(at(9), 1, 0)
    fleet.missed(at(9), 0)
    fleet.reported(at(9), Load(calls=1, capacity=2), 0)
    assert states(fleet) == {1: READY}
    silence(fleet, 1, 0)
    fleet.reported(at(1), Load(calls=1, capacity=2), 0)
    assert fleet.members[at(1)].load is None


def test_a_name_moves_to_a_new_address_and_the_old_one_is_forgotten() -> None:
    fleet = Fleet(TERMS, named)
    fleet.listed(listing(one(1, server_ids=(b"pod",)), 3), 0)
    fleet.listed(listing(one(2, server_ids=(b"pod",)), 3), SECOND)
    assert states(fleet) == {2: JOINING, 3: JOINING}
    assert "has its name" in fleet.changes()[-1].reason


def test_another_name_changes_the_view_and_not_the_state() -> None:
    fleet = fleet_of(1, 2)
    version = fleet.version
    fleet.listed(listing(one(1, server_ids=(b"old", b"new")), 2), 1)
    assert fleet.version > version
    assert fleet.backends()[0].server_ids == (b"new", b"old")
    assert states(fleet)[1] is READY


def test_names_follow_the_configurations() -> None:
    fleet = fleet_of(1, 2)
    fleet.rename(lambda address: (b"long " + named(address)[0],), 1)
    assert fleet.backends()[0].server_ids == (b"long " + name(1),)
    assert states(fleet) == {1: READY, 2: READY}
