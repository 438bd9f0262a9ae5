"""A recorded sequence of server events against the order that the Realtime API promises.

Owns the walk over the events; the rules stand in `conversation_order` and `response_order`.
"""

from collections.abc import Iterable

from legato.core.wire.messages import JsonObject
from legato.testing.realtime.conversation_order import ConversationOrder
from legato.testing.realtime.response_order import ResponseOrder


def order_faults(events: Iterable[JsonObject], *, from_start: bool = True, ended: bool = True) -> list[str]:
    """What is wrong with the order of `events`, a sentence each.

    `from_start` False: the recording began in mid-session, so what it never saw begin is not judged.
    `ended` False: it may stop anywhere. Events have to have the members of their type.
    """
    conversation = ConversationOrder(from_start)
    responses = ResponseOrder(conversation, from_start)
    identifiers: set[str] = set()
    faults: list[str] = []
    for number, event in enumerate(events):
        found: list[str] = []
        identifier = event.get("event_id")
        if isinstance(identifier, str) and identifier in identifiers:
            found.append(f"the event_id {identifier} was used before")
        identifiers.add(str(identifier))
        # Responses first: an item they begin is announced before the conversation takes it in.
        found += responses.see(event)
        found += conversation.see(event)
        faults += [f"event {number} ({event.get('type')}): {fault}" for fault in found]
    if ended:
        faults += [f"at the end: {fault}" for fault in responses.unfinished() + conversation.unfinished()]
    return faults
