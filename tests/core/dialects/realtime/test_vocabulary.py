from typing import Any

import pytest
from tests.core.dialects.realtime.test_session_settings import FULL, SETTINGS

from legato.core.dialects.realtime.client_events import read_client_event
from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.vocabulary import CLIENT_EVENTS, SERVER_EVENTS
from legato.core.dialects.realtime.vocabulary import SETTINGS as TABLE


def test_every_note_is_one_line() -> None:
    for entry in [*CLIENT_EVENTS.values(), *SERVER_EVENTS.values(), *TABLE.values()]:
        assert entry.note
        assert not set(entry.note) & set("\n|")


def test_treatments_fit_their_table() -> None:
    assert {entry.treatment for entry in CLIENT_EVENTS.values()} <= {"handled", "refused"}
    assert {entry.treatment for entry in SERVER_EVENTS.values()} <= {"handled", "never sent"}
    assert {entry.treatment for entry in TABLE.values()} <= {"handled", "passed", "kept", "refused"}


@pytest.mark.parametrize("name", TABLE)
def test_settings_are_taken_or_refused_as_the_table_says(name: str) -> None:
    members: Any = FULL
    for step in name.split("."):
        members = members[step]
    value = {"id": "p"} if name == "prompt" else members
    for step in reversed(name.split(".")):
        value = {step: value}
    partial = {"type": "realtime", "tools": FULL["tools"], **value}
    if TABLE[name].treatment == "refused":
        with pytest.raises(EventRefused):
            SETTINGS.updated(partial)
    else:
        assert SETTINGS.updated(partial).type == "realtime"


def test_every_event_of_the_table_can_be_read() -> None:
    for name in CLIENT_EVENTS:
        try:
            read_client_event({"type": name})
        except EventRefused as refused:
            assert refused.code == "missing_required_parameter"  # noqa: PT017 - some need more members
