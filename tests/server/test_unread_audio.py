"""What a caller can make an unread call hold: by time, by weight, by number."""

from tests.server.calls import Held, dial

from legato.core.wire.codes import SessionCode
from legato.core.wire.event_json import encode_message
from legato.core.wire.messages import AudioLost
from legato.core.wire.records import control_record
from legato.server.call import UNREAD_PIECES


async def test_crumbs_end_the_call_before_they_fill_the_memory() -> None:
    agent = Held()
    caller, calls = await dial(agent)
    await agent.call
    control = next(iter(caller.driver._streams.values()))
    for start in range(0, UNREAD_PIECES + 1_000, 1_000):
        gaps = (AudioLost(number, number + 1) for number in range(start, start + 1_000))
        caller.driver.transport.send(control, b"".join(control_record(encode_message(gap)) for gap in gaps))
    await caller.until(lambda: caller.ended is not None)
    assert caller.ended is not None
    assert caller.ended.code == SessionCode.LIMIT_EXCEEDED
    agent.release.set()
    await calls.wait_empty()
