"""What a session means: order, state, what was heard, what can be resumed.

Owns the rules of `wire/SPEC.md` as plain objects: bytes, events and times in, bytes and events out.
Must never know sockets, event loops, threads, clocks, randomness, codecs or agents: times (integer
microseconds) and identifiers are passed in, so every behaviour can be replayed exactly in a test.

To embed a session in a loop of your own, read the contract in `legato.core.session`; what it reports is
in `legato.core.events`, what it asks for in `legato.core.outputs`.
"""

from legato.core.audio import AudioFormat, AudioFrame, AudioGap
from legato.core.client_session import ClientSession
from legato.core.server_session import ServerSession
from legato.core.state import SessionState
from legato.core.terms import Terms
from legato.core.uplink_sender import UplinkSettings
from legato.core.wire.codes import SESSION_PATH, WIRE_VERSION, SessionCode, StreamCode
from legato.core.wire.messages import (
    Capabilities,
    Hello,
    Limits,
    Playback,
    ReplyHeader,
    ResumeRequest,
    Welcome,
)

__all__ = [
    "SESSION_PATH",
    "WIRE_VERSION",
    "AudioFormat",
    "AudioFrame",
    "AudioGap",
    "Capabilities",
    "ClientSession",
    "Hello",
    "Limits",
    "Playback",
    "ReplyHeader",
    "ResumeRequest",
    "ServerSession",
    "SessionCode",
    "SessionState",
    "StreamCode",
    "Terms",
    "UplinkSettings",
    "Welcome",
]
