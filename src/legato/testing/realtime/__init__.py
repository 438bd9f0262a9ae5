"""Server events of the OpenAI Realtime API, judged: the right members, in the right order.

    check_server_events(events)                    # a whole session, from its first event to its end
    check_server_events(events, ended=False)       # it was cut off: things may be unfinished
    check_server_events(events, from_start=False)  # recorded by someone who came later

Members are judged by the types of the `openai` package, strictly: a member that the package does not know,
or one of another JSON type, is a fault. That package has to be installed; it is imported when it is needed.
Order is judged by the rules the API states in prose, which those types cannot express; they stand in
`conversation_order` and `response_order`.
"""

from collections.abc import Iterable, Sequence

from legato.core.wire.messages import JsonObject
from legato.testing.realtime.order import order_faults

__all__ = [
    "check_server_event",
    "check_server_events",
    "order_faults",
    "schema_faults",
    "server_event_faults",
]


def schema_faults(event: JsonObject) -> list[str]:
    """What is wrong with the members of one server event, a sentence each."""
    from legato.testing.realtime.schema import schema_faults as judge

    return judge(event)


def server_event_faults(
    events: Iterable[JsonObject], *, from_start: bool = True, ended: bool = True
) -> list[str]:
    """Everything that is wrong with a recorded sequence of server events, a sentence each."""
    recorded: Sequence[JsonObject] = list(events)
    members = [
        f"event {number} ({event.get('type')}): {fault}"
        for number, event in enumerate(recorded)
        for fault in schema_faults(event)
    ]
    return members + order_faults(recorded, from_start=from_start, ended=ended)


def check_server_event(event: JsonObject) -> None:
    """Raise AssertionError if one server event is not what the API says."""
    _raise(schema_faults(event))


def check_server_events(events: Iterable[JsonObject], *, from_start: bool = True, ended: bool = True) -> None:
    """Raise AssertionError, with every fault, if a sequence of server events is not what the API says."""
    _raise(server_event_faults(events, from_start=from_start, ended=ended))


def _raise(faults: list[str]) -> None:
    if faults:
        raise AssertionError("not what the Realtime API says:\n  " + "\n  ".join(faults))
