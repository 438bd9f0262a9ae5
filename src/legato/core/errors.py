"""The exceptions of legato, all of them; must not know who raises which.

    LegatoError
    ├── ProtocolError
    │   ├── LocalProtocolError     our own caller asked for something that is not allowed now
    │   └── RemoteProtocolError    the peer broke the rules of wire/SPEC.md (carries the close code)
    ├── TransportError
    │   ├── ConnectError           no session could be established
    │   ├── SessionClosed          the session is over (who ended it, code, reason)
    │   └── StreamReset            the peer abandoned one stream (carries the stream code)
    ├── AgentError                 an agent or one of its model stages failed (retryable or not)
    └── SettingsError              a setting is missing, malformed or contradicts another

Whose fault a failure is can be read from its branch: only `LocalProtocolError` and `SettingsError` are bugs
or mistakes on this side. One `except LegatoError` covers everything the package raises on purpose.
"""

from typing import Literal

Party = Literal["peer", "local", "transport"]
"""Who ended a session: the other side, this side, or the connection underneath (idle, reset, unreachable)."""


class LegatoError(Exception):
    """Base of every exception raised on purpose by this package."""


class ProtocolError(LegatoError):
    """A rule of the protocol was broken; the two subclasses say by whom."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something that is not allowed now; the message says what to do instead."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of wire/SPEC.md.

    `code` is the session close code it deserves (wire/SPEC.md, "Session close codes").
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class TransportError(LegatoError):
    """Moving bytes failed."""


class ConnectError(TransportError):
    """No session could be established: unreachable, refused, wrong certificate, wrong path or version."""


class SessionClosed(TransportError):  # noqa: N818 - named after what happened
    """The session is over.

    `by` tells who ended it, `code` is a session close code of wire/SPEC.md and `reason` is text for people.
    """

    def __init__(self, by: Party, code: int, reason: str = "") -> None:
        super().__init__(f"session closed by {by}, code {code}" + (f": {reason}" if reason else ""))
        self.by = by
        self.code = code
        self.reason = reason


class StreamReset(TransportError):  # noqa: N818 - named after what happened
    """The peer abandoned one stream; `code` is a stream code of wire/SPEC.md."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stream reset by peer, code {code}")
        self.code = code


class AgentError(LegatoError):
    """An agent or one of its model stages failed; `retryable` tells whether asking again may help."""

    def __init__(self, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class SettingsError(LegatoError):
    """A setting is missing, malformed or contradicts another one; the message names it."""
