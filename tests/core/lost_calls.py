"""Calls that can be resumed, and how they lose their connection and get another one."""

from typing import Any

import msgspec
from tests.core.link import PCM, Link, of_type

from legato.core import (
    ClientSession,
    Hello,
    Limits,
    ServerSession,
    Terms,
    UplinkSettings,
)
from legato.core.events import (
    ConnectionLost,
    HelloReceived,
)

TICKET = {"resume_ticket": "t1", "resume_ttl_ms": 5_000}


def a_call(
    hello: Hello | None = None,
    settings: UplinkSettings | None = None,
    limits: Limits | None = None,
    **terms: Any,
) -> Link:
    """A call that can be resumed."""
    link = Link(hello, settings, limits)
    link.settle()
    link.accept(**(TICKET | terms))
    link.take(link.near)
    link.take(link.far)
    return link


def again(link: Link, **changes: Any) -> Link:
    """A second connection for the call of `link`, with its hello on the server's table."""
    request = link.client.resume_request()
    assert request is not None
    hello = msgspec.structs.replace(link.client.hello, resume=msgspec.structs.replace(request, **changes))
    client = ClientSession(hello, link.now, link.client.settings, continues=link.client)
    fresh = Link.between(client, ServerSession(link.now), link.now)
    fresh.settle()
    assert of_type(fresh.take(fresh.far), HelloReceived)
    return fresh


def resumed(link: Link, **changes: Any) -> Link:
    """The call of `link` over a second connection."""
    fresh = again(link, **changes)
    assert link.server.can_continue(fresh.client.hello, fresh.now)
    fresh.server.accept(
        Terms(session_id="call_1", output=PCM, resume_ticket="t2", resume_ttl_ms=5_000),
        fresh.now,
        link.server,
    )
    fresh.settle()
    return fresh


def lose(link: Link) -> None:
    for session in (link.client, link.server):
        session.closed("transport", 0, "idle", link.now)
    link.near.queues.clear()
    link.far.queues.clear()
    link.collect()
    assert link.take(link.near)[-1] == ConnectionLost("transport", 0, "idle")
    assert link.take(link.far)[-1] == ConnectionLost("transport", 0, "idle")
