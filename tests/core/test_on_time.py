"""Profile `duplex`: what comes too late is left out, with a gap of exactly its length, and nothing else is.

Time is virtual. A sample takes 62.5 us at 16 kHz; frames here have 320 samples, 20 ms.
"""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.core.link import PCM, Link, a_hello, of_type, pcm
from tests.core.test_resume import a_call, again, lose
from tests.core.test_uplink_receiver import Recorder
from tests.core.test_uplink_sender import Network, a_sender

from legato.core import AudioGap, Limits, Terms, UplinkSettings
from legato.core.errors import LocalProtocolError, RemoteProtocolError
from legato.core.events import AudioReceived, GapReported, HelloReceived, Welcomed
from legato.core.lateness import Lateness
from legato.core.uplink_sender import UplinkSender
from legato.core.wire.codes import SessionCode

FRAME = 320
FRAME_US = 20_000
LATE_US = 100_000


def captured(number: int) -> int:
    """When a frame's first sample was captured, by a clock that is not the server's."""
    return 7_000_000 + number * FRAME_US


def frame(recorder: Recorder, number: int, now: int) -> None:
    recorder.uplink.record(number * FRAME, captured(number), pcm(number * FRAME, FRAME), now)


def receiver(**limits: Any) -> Recorder:
    recorder = Recorder(**limits)
    recorder.uplink.give_up_after(LATE_US)
    return recorder


def frames(first: int, stop: int) -> list[tuple[int, int]]:
    return [(number * FRAME, (number + 1) * FRAME) for number in range(first, stop)]


def test_the_quickest_of_the_last_seconds_is_the_measure() -> None:
    lateness = Lateness(LATE_US)
    assert lateness.due(0) is None
    assert not lateness.is_late(0, 50_000)
    assert not lateness.is_late(20_000, 170_000)
    assert lateness.is_late(40_000, 190_001)
    assert lateness.due(60_000) == 210_000
    assert not lateness.is_late(60_000, 60_000), "quicker than ever: the other clock says more than ours"
    assert lateness.due(60_000) == 160_000


def test_a_path_that_is_slower_for_good_is_the_measure_two_seconds_later() -> None:
    lateness = Lateness(LATE_US)
    for number in range(100):
        assert not lateness.is_late(number * FRAME_US, number * FRAME_US)
    late = [lateness.is_late(number * FRAME_US, number * FRAME_US + 300_000) for number in range(100, 300)]
    assert late[0]
    assert 50 <= late.count(True) <= 100, "one to two seconds of audio"
    assert not any(late[100:])


def test_time_in_which_nothing_comes_makes_nothing_punctual() -> None:
    lateness = Lateness(LATE_US)
    lateness.is_late(0, 0)
    backlog = [lateness.is_late(number * FRAME_US, 60_000_000) for number in range(1, 3_000)]
    assert all(backlog[:2_990])
    assert not backlog[-1]


def test_a_clock_that_goes_back_makes_nothing_older() -> None:
    lateness = Lateness(LATE_US)
    for now in (1_000_000, 500_000, 600_000):
        assert not lateness.is_late(now, now)


def test_what_is_missing_is_waited_for_until_it_is_too_late() -> None:
    recorder = receiver()
    frame(recorder, 0, 50_000)
    frame(recorder, 2, 90_000)
    frame(recorder, 3, 110_000)
    due = recorder.uplink.give_up_at()
    assert due == 70_000 + LATE_US
    recorder.uplink.give_up(due - 1)
    assert recorder.said() == frames(0, 1)
    recorder.uplink.give_up(due)
    assert recorder.said() == [*frames(0, 1), ("gap", FRAME, 2 * FRAME), *frames(2, 4)]
    frame(recorder, 1, due + 1)
    assert recorder.said()[4:] == []
    assert recorder.uplink.take_ack() == 4 * FRAME


def test_what_comes_in_time_is_no_gap() -> None:
    recorder = receiver()
    frame(recorder, 0, 50_000)
    frame(recorder, 2, 90_000)
    frame(recorder, 1, 169_000)
    assert recorder.said() == frames(0, 3)
    assert recorder.uplink.give_up_at() is None
    assert recorder.uplink.waiting_bytes == 0


def test_a_backlog_is_left_out_and_what_is_fresh_is_not() -> None:
    recorder = receiver()
    frame(recorder, 0, 0)
    for number in range(1, 52):
        frame(recorder, number, 1_000_000)
    assert recorder.said()[0] == (0, FRAME)
    gaps = [entry for entry in recorder.said() if entry[0] == "gap"]
    assert sum(stop - start for _, start, stop in gaps) == 44 * FRAME
    assert recorder.said()[-7:] == frames(45, 52)


def test_what_was_declared_lost_and_is_there_is_handed_over() -> None:
    recorder = Recorder()
    for start in (20, 10, 40):
        recorder.pcm(start, 10)
    recorder.uplink.gap(10, 60, 0)
    recorder.uplink.gap(0, 10, 0)
    assert recorder.said() == [("gap", 0, 10), (10, 20), (20, 30), ("gap", 30, 40), (40, 50), ("gap", 50, 60)]


def test_a_gap_that_waits_has_no_time() -> None:
    recorder = receiver()
    frame(recorder, 0, 0)
    recorder.uplink.gap(2 * FRAME, 3 * FRAME, 0)
    assert recorder.uplink.give_up_at() is None
    frame(recorder, 1, 20_000)
    assert recorder.said() == [*frames(0, 2), ("gap", 2 * FRAME, 3 * FRAME)]


def test_late_audio_is_bounded_like_any_other() -> None:
    recorder = receiver(window_ms=40)
    frame(recorder, 0, 0)
    with pytest.raises(RemoteProtocolError, check=lambda error: error.code == SessionCode.LIMIT_EXCEEDED):
        frame(recorder, 3, 10_000_000)


@example(delays=[0, 500_000, 0], late_us=100_000)
@given(
    delays=st.lists(st.integers(0, 600_000), min_size=1, max_size=60),
    late_us=st.sampled_from([1, 20_000, 100_000, 400_000]),
)
def test_whatever_the_network_does_all_is_audio_or_gap_and_nothing_is_stale(
    delays: list[int], late_us: int
) -> None:
    """Each frame arrives after a delay of its own, in any order. The quickest is no slower than those that
    are judged, so that the first one is made quick."""
    recorder = Recorder()
    recorder.uplink.give_up_after(late_us)
    delays[0] = 0
    arrivals = sorted((captured(number) + delay, number) for number, delay in enumerate(delays))
    told: list[tuple[int, int]] = []

    def note(now: int) -> None:
        told.extend((now, position) for position in range(len(told), len(recorder.events)))

    for now, number in arrivals:
        while (due := recorder.uplink.give_up_at()) is not None and due <= now:
            recorder.uplink.give_up(due)
            note(due)
        frame(recorder, number, now)
        note(now)
    position = 0
    for (now, _), event in zip(told, recorder.events, strict=True):
        assert isinstance(event, AudioReceived | GapReported)
        if isinstance(event, AudioReceived):
            assert event.frame.offset == position
            position = event.frame.end
            assert now - event.frame.captured_us <= late_us, "older than it may be"
        else:
            assert event.gap.start == position
            position = event.gap.stop
    punctual = {number for number, delay in enumerate(delays) if delay <= late_us}
    heard = {event.frame.offset // FRAME for event in recorder.events if isinstance(event, AudioReceived)}
    waiting = range(position // FRAME, len(delays))
    assert punctual - set(waiting) <= heard, "what came in time is never left out"


def on_time(late_us: int | None = LATE_US, **settings: Any) -> tuple[UplinkSender, Network]:
    sender, network = a_sender(**{"group_us": 40_000, **settings})
    sender.groups.resettable = True
    sender.give_up_after(late_us)
    return sender, network


def say(sender: UplinkSender, first: int, stop: int) -> None:
    for number in range(first, stop):
        sender.push(pcm(number * FRAME, FRAME), captured(number))


def test_streams_that_are_too_late_are_reset_and_their_audio_is_declared() -> None:
    sender, network = on_time()
    say(sender, 0, 5)
    assert [entry for entry in network.take() if entry[0] == "fin"] == [], "it could not be reset any more"
    sender.give_up(captured(3) + LATE_US + 500_000 - 1)
    assert network.take() == [("reset", 1), ("lost", 0, 2 * FRAME)]
    sender.give_up(captured(4) + LATE_US + 500_000 + 1)
    assert network.take() == [("reset", 2), ("lost", 2 * FRAME, 4 * FRAME)]
    assert sender.oldest == 4 * FRAME
    sender.acknowledge(4 * FRAME)
    sender.give_up(captured(4) + LATE_US + 500_000 + 1)
    assert network.take() == []


def test_a_stream_ends_when_all_of_it_has_arrived() -> None:
    sender, network = on_time()
    say(sender, 0, 3)
    sender.end_group()
    network.take()
    sender.acknowledge(2 * FRAME)
    assert network.take() == [("fin", 1)]
    sender.acknowledge(3 * FRAME)
    assert network.take() == [("fin", 2)]


def test_what_waits_too_long_is_never_sent() -> None:
    sender, network = on_time(ring_us=10_000_000)
    sender.set_limits(Limits(window_ms=20))
    say(sender, 0, 4)
    sender.end_group()
    assert [entry[1:] for entry in network.take() if len(entry) == 3] == [(0, FRAME)]
    sender.give_up(captured(3) + LATE_US)
    sender.acknowledge(FRAME)
    sent = [entry for entry in network.take() if entry[0] != "open"]
    assert sent[0] == ("lost", FRAME, 3 * FRAME)
    sender.acknowledge(3 * FRAME)
    assert network.take()[0][1:] == (3 * FRAME, 4 * FRAME)


def test_without_a_connection_only_what_is_fresh_is_kept() -> None:
    sender, network = on_time()
    say(sender, 0, 3)
    sender.detach()
    say(sender, 3, 8)
    network.take()
    sender.give_up(captured(5) + LATE_US)
    assert sender.oldest == 5 * FRAME
    sender.attach(network, 0)
    assert network.take()[:3] == [("lost", 0, 5 * FRAME), ("open", 3), (3, 5 * FRAME, 6 * FRAME)]


def test_a_server_that_wants_everything_gets_everything() -> None:
    sender, network = on_time(None)
    say(sender, 0, 3)
    sender.give_up(captured(1_000))
    assert [entry for entry in network.take() if entry[0] in ("lost", "reset")] == []
    sender, network = a_sender(group_us=40_000)
    sender.groups.resettable = True
    say(sender, 0, 3)
    network.take()
    sender.give_up_after(None)
    assert network.take() == [("fin", 1)]
    sender.give_up_after(None)
    assert network.take() == []


def duplex(**hello: Any) -> Link:
    link = Link(a_hello(profile="duplex", **hello), UplinkSettings(group_us=40_000))
    link.settle()
    assert [type(event) for event in link.take(link.far)] == [HelloReceived]
    link.accept(profile="duplex", late_ms=100)
    return link


def test_a_call_on_time_leaves_out_what_an_outage_held_up() -> None:
    link = duplex()
    (welcomed,) = of_type(link.take(link.near), Welcomed)
    assert (welcomed.welcome.profile, welcomed.welcome.late_ms) == ("duplex", 100)
    for number in range(60):
        link.now = number * FRAME_US
        link.client.send_audio(pcm(number * FRAME, FRAME), link.now, link.now)
        link.collect()
        if not 5 <= number < 55:  # a second in which nothing passes
            link.wait(0)
    link.wait(50_000)
    events = [event for event in link.take(link.far) if isinstance(event, AudioReceived | GapReported)]
    position = 0
    for event in events:
        if isinstance(event, AudioReceived):
            assert event.frame.offset == position
            position = event.frame.end
        else:
            assert event.gap.start == position
            position = event.gap.stop
    assert position == 60 * FRAME
    gap = sum(event.gap.samples for event in events if isinstance(event, GapReported))
    assert gap == 45 * FRAME, "50 frames were held up, and the last 5 of them were still of use"


def test_a_hole_is_closed_when_its_time_has_come() -> None:
    link = duplex()
    link.client.send_audio(pcm(0, FRAME), 0, 0)
    link.settle()
    link.take(link.far)
    # The second frame is lost with the end of its stream; the stream behind it arrives.
    for number in (1, 2, 3):
        link.now = number * FRAME_US
        link.client.send_audio(pcm(number * FRAME, FRAME), link.now, link.now)
        link.collect()
    link.near.queues[min(link.near.ready())].clear()
    link.settle()
    assert of_type(link.take(link.far), AudioReceived) == []
    due = link.server.next_deadline()
    assert due == FRAME_US + 100_000
    link.wait(due - link.now)
    events = link.take(link.far)
    assert [event.gap for event in of_type(events, GapReported)] == [AudioGap(FRAME, 2 * FRAME)]
    assert [event.frame.offset for event in of_type(events, AudioReceived)] == [2 * FRAME, 3 * FRAME]


def with_a_hole() -> Link:
    """A call in which the second of three frames does not arrive."""
    link = a_call(a_hello(profile="duplex"), UplinkSettings(group_us=20_000), profile="duplex", late_ms=100)
    for number in range(3):
        link.now = number * FRAME_US
        link.client.send_audio(pcm(number * FRAME, FRAME), link.now, link.now)
        link.collect()
        if number == 1:
            link.near.queues[max(link.near.ready())].clear()
        link.settle()
    link.take(link.far)
    assert link.server.next_deadline() is not None
    return link


def test_a_hole_is_closed_in_time_also_while_there_is_no_connection() -> None:
    link = with_a_hole()
    lose(link)
    due = link.server.next_deadline()
    assert due == FRAME_US + 100_000
    link.server.on_deadline(due)
    events = link.server.events()
    assert [event.gap for event in of_type(events, GapReported)] == [AudioGap(FRAME, 2 * FRAME)]
    assert [event.frame.offset for event in of_type(events, AudioReceived)] == [2 * FRAME]
    steps = 0
    while (due := link.server.next_deadline()) is not None and due < 5_000_000:
        link.server.on_deadline(due)
        steps += 1
    assert steps <= 1, "a deadline that stays due would be met for ever"
    assert link.server.outputs() == []


def test_a_session_that_has_ended_waits_for_no_hole() -> None:
    link = with_a_hole()
    link.server.close(SessionCode.NO_ERROR, "", link.now)
    assert link.server.next_deadline() is None


def said_in_vain(frames: int, lost_first: bool) -> Link:
    """A call of which one frame has arrived, and `frames` behind it have not."""
    link = a_call(a_hello(profile="duplex"), UplinkSettings(group_us=40_000), profile="duplex", late_ms=100)
    link.client.send_audio(pcm(0, FRAME), 0, 0)
    link.settle()
    link.take(link.far)
    if lost_first:
        lose(link)
    for number in range(1, frames + 1):
        link.now = number * FRAME_US
        link.client.send_audio(pcm(number * FRAME, FRAME), link.now, link.now)
    return link


@pytest.mark.parametrize("lost_first", [True, False])
def test_what_is_given_up_last_is_declared_although_nothing_follows(lost_first: bool) -> None:
    link = said_in_vain(3, lost_first)
    link.now += 1_000_000
    fresh = again(link)
    terms = Terms(session_id="call_1", output=PCM, profile="duplex", late_ms=100, resume_ticket="t2")
    fresh.server.accept(terms, fresh.now, link.server)
    fresh.settle()
    gaps = [event.gap for event in of_type(fresh.take(fresh.far), GapReported)]
    assert gaps == [AudioGap(FRAME, 4 * FRAME)], "a commit behind it would be waited for in vain"


@pytest.mark.parametrize("lost_first", [True, False])
def test_a_call_that_comes_back_begins_with_what_is_still_of_use(lost_first: bool) -> None:
    link = said_in_vain(50, lost_first)
    fresh = again(link)
    assert link.server.can_continue(fresh.client.hello, fresh.now)
    terms = Terms(session_id="call_1", output=PCM, profile="duplex", late_ms=100, resume_ticket="t2")
    fresh.server.accept(terms, fresh.now, link.server)
    fresh.settle()
    (welcomed,) = of_type(fresh.take(fresh.near), Welcomed)
    events = fresh.take(fresh.far)
    lost = sum(event.gap.samples for event in of_type(events, GapReported))
    heard = sum(event.frame.samples for event in of_type(events, AudioReceived))
    assert lost + heard == 50 * FRAME
    assert heard == 6 * FRAME, "a tenth of a second"
    assert (welcomed.welcome.resumed, welcomed.welcome.late_ms) == (True, 100)


def test_a_client_that_comes_back_with_another_profile_begins_anew() -> None:
    link = duplex()
    assert not link.server.can_continue(a_hello(profile="turn"), link.now)


def test_no_time_at_all_is_a_mistake() -> None:
    link = Link(a_hello(profile="duplex"))
    link.settle()
    with pytest.raises(LocalProtocolError, match="late_ms"):
        link.accept(profile="duplex", late_ms=0)
