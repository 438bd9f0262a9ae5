"""A server's end of calls that change servers: checkpoints said, and calls taken up.

Owns what a session makes of a carried call. Must not know what a checkpoint's state says, nor who seals it.
See `session.py` for the contract of inputs, outputs and events; rules: wire/SPEC.md, "Another server".
"""

from abc import abstractmethod

from legato.core.audio import AudioGap
from legato.core.errors import Party
from legato.core.events import GapReported
from legato.core.server_replies import ServerReplies
from legato.core.state import CONNECTED, SessionState
from legato.core.terms import Terms
from legato.core.uplink_receiver import UplinkReceiver
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import Checkpoint, Hello, Limits, Welcome


class ServerCarrying(ServerReplies):
    """The part of a server's session that lets a call go on elsewhere, and takes up one from elsewhere."""

    __slots__ = ("_hello", "_uplink")

    def __init__(self, limits: Limits, now: int) -> None:
        super().__init__(limits, now)
        self._hello: Hello | None = None
        self._uplink: UplinkReceiver | None = None

    @property
    def carries(self) -> bool:
        """Whether the client keeps checkpoints, and there is a connection to send one on."""
        hello = self._hello
        return hello is not None and hello.capabilities.carries and self._state in CONNECTED

    @property
    def events_taken(self) -> int:
        """How many counted events of the client were reported."""
        return self._log.taken

    def send_checkpoint(self, state: str, uplink_offset: int, events: int) -> None:
        """Give the client the call as it stands; without effect if it does not keep that.

        The first `events` counted events of the client are part of `state`, and so is audio before
        `uplink_offset`.
        """
        if self.carries:
            self._say_message(Checkpoint(state=state, uplink_offset=uplink_offset, events=events))

    def _is_loss(self, by: Party, code: int) -> bool:
        # Who leaves a server that stops has gone to another one with the call.
        left = self._state is SessionState.DRAINING and code == SessionCode.REPLACED
        return not left and super()._is_loss(by, code)

    @abstractmethod
    def _press(self, pressed: bool) -> None:
        """Hold the client's audio back, or let it go on."""

    def _begin(self, hello: Hello, welcome: Welcome, terms: Terms) -> None:
        """Begin the call of an accepted hello, where `terms` say that it was left."""
        self._downlink = self._new_downlink(hello.capabilities.playback_reports)
        carried, start = terms.carried, welcome.uplink_offset
        self._uplink = UplinkReceiver(hello.input, self.limits, start, self._events.append, self._press)
        if welcome.late_us is not None:
            self._uplink.give_up_after(welcome.late_us)
        if carried is None or hello.resume is None:
            return
        if start > carried.uplink_offset:
            self._events.append(GapReported(AudioGap(carried.uplink_offset, start)))
        self._log.begin_at(hello.resume.events, carried.events)
        self._events += self._downlink.restore(carried.generation, hello.resume.downlink, terms.output)
