"""Counted events: kept until they are acknowledged, within a bound."""

import pytest

from legato.core import event_log
from legato.core.errors import RemoteProtocolError
from legato.core.event_log import EventLog
from legato.core.wire.codes import EVENT_ACK_BYTES, EVENT_ACK_EVENTS


def a_log(*payloads: bytes) -> EventLog:
    log = EventLog()
    for payload in payloads:
        log.say(payload)
    return log


def test_what_is_not_acknowledged_can_be_said_again() -> None:
    log = a_log(b"a", b"b", b"c")
    assert log.has_all_after(0)
    assert log.after(1) == [b"b", b"c"]
    assert not log.has_all_after(0)
    assert log.has_all_after(3)
    assert not log.has_all_after(4)
    log.acknowledge(0)
    assert log.after(3) == []
    assert log.kept_bytes == 0
    log.say(b"d")
    assert (log.after(3), log.said) == ([b"d"], 4)


def test_what_the_latest_acknowledgement_covers_can_still_be_asked_for() -> None:
    log = a_log(b"a", b"b", b"c")
    log.acknowledge(1)
    log.acknowledge(2)
    assert not log.has_all_after(0)
    assert log.has_all_after(1)
    log.acknowledge(2)
    assert log.after(1) == [b"b", b"c"]
    assert log.after(2) == [b"c"]


def test_nobody_takes_more_than_was_said() -> None:
    with pytest.raises(RemoteProtocolError, match="2 events of 1 said"):
        a_log(b"a").acknowledge(2)


def test_the_oldest_goes_when_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "KEPT_EVENT_BYTES", 200)
    log = a_log(b"a" * 10, b"b" * 10, b"c" * 10)
    assert log.kept_bytes <= 200
    assert not log.has_all_after(0)
    assert log.has_all_after(1)
    log.say(b"d" * 1_000)
    assert log.kept_bytes == 0
    assert not log.has_all_after(3)
    assert log.has_all_after(4)


def test_without_a_resume_nothing_is_kept() -> None:
    log = a_log(b"a")
    log.keep_nothing()
    log.say(b"b")
    assert (log.said, log.kept_bytes) == (2, 0)


@pytest.mark.parametrize(("size", "due"), [(1, EVENT_ACK_EVENTS), (EVENT_ACK_BYTES // 4, 4)])
def test_what_is_taken_is_acknowledged_by_number_or_weight(size: int, due: int) -> None:
    log = EventLog()
    for _ in range(2):
        assert [log.take(size) for _ in range(due)] == [False] * (due - 1) + [True]
        assert log.tell() == log.taken
