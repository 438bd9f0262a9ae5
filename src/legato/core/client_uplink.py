"""A client's end of captured audio: what is said goes into the ring, and out of it onto streams.

Owns what a client does with captured audio. Must not know the control stream or the capture device. See
`session.py` for the contract of inputs, outputs and events; rules: wire/SPEC.md, "Uplink audio".
"""

import msgspec

from legato.core.client_replies import ClientReplies
from legato.core.outputs import OpenStream, Reset, Send
from legato.core.state import SessionState
from legato.core.uplink_sender import UplinkSender, UplinkSettings
from legato.core.wire import varint
from legato.core.wire.codes import Priority, StreamCode, StreamType
from legato.core.wire.messages import AudioLost, Hello, Limits, Welcome


class ClientUplink(ClientReplies):
    """The part of a client's session that says what was captured."""

    def __init__(self, hello: Hello, settings: UplinkSettings, limits: Limits, now: int) -> None:
        super().__init__(limits, now)
        self.hello = hello
        self.settings = settings
        self._start = hello.resume.uplink_offset if hello.resume is not None else 0
        on_time = hello.profile == "duplex"
        if on_time:
            group_us = min(settings.group_us, settings.duplex_group_us)
            settings = msgspec.structs.replace(settings, group_us=group_us)
        self._uplink = UplinkSender(hello.input, settings, self._start, self)
        self._uplink.groups.resettable = on_time

    def send_audio(self, payload: bytes, captured_us: int, now: int) -> int:
        """Send captured audio, whole samples or one packet; returns the position behind it.

        What may not be sent yet waits in the ring. Nothing is lost, but in profile `duplex` what is too late
        is given up. `captured_us` is the capture time of the first sample by this client's own clock, that of
        `now`.
        """
        if self._state is SessionState.CLOSED:
            return self._uplink.captured
        position = self._uplink.push(payload, captured_us)
        self._uplink.give_up(now)
        return position

    def end_utterance(self, now: int) -> None:
        """Nothing follows for a while: let the server have and acknowledge everything now."""
        if self._state is not SessionState.CLOSED:
            self._uplink.end_group()

    def path_changed(self, now: int) -> None:
        """What is sent from here on takes another way; what is on the old one may not arrive."""
        if self._state is not SessionState.CLOSED:
            self._uplink.say_again()

    @property
    def captured(self) -> int:
        """Position behind the last sample given to `send_audio`."""
        return self._uplink.captured

    @property
    def acked(self) -> int:
        """Position up to which the server has handed audio to the agent."""
        return self._uplink.acked

    # What the uplink sender needs (UplinkStreams)

    def open_group(self) -> int:
        """Open an uplink stream and return its key."""
        key = self._take_key()
        self._outputs.append(OpenStream(key, False, Priority.AUDIO))
        self._outputs.append(Send(key, varint.encode(StreamType.UPLINK_AUDIO), False))
        return key

    def send_record(self, key: int, data: bytes, fin: bool) -> None:
        """Send on that stream."""
        self._outputs.append(Send(key, data, fin))

    def reset_group(self, key: int) -> None:
        """Abandon that stream."""
        self._outputs.append(Reset(key, StreamCode.CANCELLED))

    def declare_lost(self, start: int, stop: int) -> None:
        """Tell the server that these samples will never come."""
        self._say_message(AudioLost(start, stop))

    def _go_by(self, welcome: Welcome) -> None:
        """Keep to what the server grants."""
        self._uplink.set_limits(welcome.limits)
        self._uplink.give_up_after(welcome.late_us)
