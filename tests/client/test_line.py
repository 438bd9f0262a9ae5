"""What ends a call, and what only a connection of it."""

from typing import Any

import pytest

from legato.client import calling
from legato.client import line as lines
from legato.client.calling import Calling, patience_ms
from legato.client.connection import Connection
from legato.client.line import STRAY_US, CallerLine
from legato.client.settings import ClientSettings
from legato.core.audio import AudioFormat
from legato.core.events import ConnectionLost
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Hello
from legato.session_driver import monotonic_us
from legato.transports.webtransport import ConnectTarget

PCM = AudioFormat("pcm16", 24_000)
REPLACED = ConnectionLost("peer", SessionCode.REPLACED, "another connection continues the call")


class OnAWire(CallerLine):
    """A line whose connections get no answer; what it decides can be seen."""

    def __init__(self) -> None:
        self.ahead_us = 0
        super().__init__("https://localhost:1", ClientSettings(), Hello(input=PCM, output=(PCM,)), {})
        self.clock = lambda: monotonic_us() + self.ahead_us

    async def _dial(self, connection: Connection, given_up: SessionCode) -> None:
        pass

    def goes_on(self) -> bool:
        """Whether another connection is looked for."""
        return self._tasks.pop("reconnect", None) is not None


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> OnAWire:
    monkeypatch.setattr(lines, "HEAD_START_S", 0.01)
    return OnAWire()


async def test_a_call_that_another_client_has_taken_is_over(line: OnAWire) -> None:
    line._lost(REPLACED)
    assert not line.goes_on()


async def test_a_server_that_goes_over_to_a_connection_given_up_is_called_again(line: OnAWire) -> None:
    assert not await line._try(0.01)
    line._tries = 0  # what a welcome on yet another connection makes of it
    line.ahead_us += STRAY_US // 2
    line._lost(REPLACED)
    assert line.goes_on()
    line.ahead_us += STRAY_US
    line._lost(REPLACED)
    assert not line.goes_on()
    line.stop()


@pytest.mark.parametrize("seconds", [0.5, 10.0, 25.0])
async def test_a_welcome_is_waited_for_as_long_as_the_caller_has_patience(seconds: float) -> None:
    began = monotonic_us()
    settings = ClientSettings(connect_timeout_s=seconds)
    line = CallerLine("https://localhost:1", settings, Hello(input=PCM, output=(PCM,)), {})
    deadline = line.session.next_deadline()
    assert deadline is not None
    assert patience_ms(settings) > seconds * 1_000 + 500
    assert deadline - began > seconds * 1_000_000 + 500_000, "`ready` says more about it and comes first"


async def test_so_is_the_first_packet_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Endpoint:
        @classmethod
        def client(cls, settings: Any) -> "Endpoint":
            asked.append(settings.handshake_timeout_ms)
            return cls()

    monkeypatch.setattr(calling, "WebTransportEndpoint", Endpoint)
    target = ConnectTarget([("127.0.0.1", 1)], "localhost", "localhost:1", "/")
    Calling(target, ClientSettings(connect_timeout_s=25))
    assert asked[0] > 25_000


@pytest.mark.parametrize("code", [*SessionCode, 12, 4_000])
def test_what_a_server_refuses_for_now_is_asked_again(code: int) -> None:
    passing = {SessionCode.GOING_AWAY, SessionCode.HELLO_TIMEOUT, SessionCode.OVERLOADED}
    passing |= {SessionCode.INTERNAL_ERROR, SessionCode.REPLACED}
    assert (code in lines.FOR_GOOD) is (code in set(SessionCode) - passing)
