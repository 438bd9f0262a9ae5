"""What a client keeps so that another server can take its call over: the latest checkpoint and what follows.

Owns which checkpoint is shown, and how long audio and events are kept for it. Must not know what a checkpoint
says. Rules: wire/SPEC.md, "Another server".
"""

from legato.core.event_log import EventLog
from legato.core.uplink_sender import UplinkSender
from legato.core.wire.messages import Checkpoint


class CarriedCall:
    """The checkpoints of one call."""

    def __init__(self) -> None:
        self._latest: Checkpoint | None = None
        self._shown: Checkpoint | None = None

    @property
    def usable(self) -> bool:
        """Whether there is one."""
        return self._latest is not None

    def take(self, checkpoint: Checkpoint, uplink: UplinkSender, log: EventLog) -> None:
        """A newer one has come; raises RemoteProtocolError if it is ahead of what was sent.

        What belongs to the one that was shown last is kept: its answer may be under way.
        """
        self._latest = checkpoint
        needed = self._shown or checkpoint
        log.needed_from(needed.events)
        uplink.needed_from(needed.uplink_offset)
        uplink.acknowledge(checkpoint.uplink_offset)

    def show(self, uplink: UplinkSender, log: EventLog) -> str | None:
        """The one for a hello, whose audio begins where this one's does; None if there is none, or an event
        behind it had to be given up."""
        latest = self._latest
        if latest is None or log.oldest > latest.events:
            return None
        self._shown = latest
        log.needed_from(latest.events)
        uplink.needed_from(latest.uplink_offset)
        return latest.state
