"""What a server grants a client, and the welcome that says so; must not know why it is granted."""

import msgspec

from legato.core.audio import AudioFormat
from legato.core.errors import LocalProtocolError
from legato.core.wire.messages import Hello, Limits, Profile, Welcome

LEAST_LATE_MS, MOST_LATE_MS = 20, 30_000
"""What is granted as `late_ms` at the least and at the most."""


class CarriedSession(msgspec.Struct, frozen=True, kw_only=True):
    """Where another server left a call: captured audio up to `uplink_offset` and the first `events` of the
    client are part of it, and no reply has a `generation` above this one."""

    uplink_offset: int
    events: int
    generation: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's decision on a hello.

    `profile` is `turn`, in which every sample arrives, or `duplex`, in which audio is left out that is more
    than `late_ms` late. `output` is one of the formats of the hello; `lead_ms` is how far replies may run
    ahead of playback.
    `limits` hold for this client from the welcome on; None leaves those that every client begins with.
    `carried` is where the call was left by another server, for a hello that resumes it.
    """

    session_id: str
    output: AudioFormat
    profile: Profile = "turn"
    late_ms: int = 400
    lead_ms: int = 10_000
    resume_ticket: str | None = None
    resume_ttl_ms: int = 0
    limits: Limits | None = None
    carried: CarriedSession | None = None

    def welcome(self, hello: Hello, limits: Limits, now: int) -> Welcome:
        """The answer to `hello`; raises LocalProtocolError if the client cannot play `output`.

        Positions go on where the client says that its audio begins. A ticket is for clients that can use it.
        """
        if self.late_ms < 1:
            raise LocalProtocolError("audio needs some time; set late_ms to at least 1")
        if self.lead_ms < 1:
            raise LocalProtocolError("replies need some lead; set lead_ms to at least 1")
        if self.output not in hello.output:
            raise LocalProtocolError(f"the client cannot play {self.output}; take one of hello.output")
        return Welcome(
            session_id=self.session_id,
            input=hello.input,
            output=self.output,
            profile=self.profile,
            late_ms=self.late_ms if self.profile == "duplex" else None,
            lead_ms=self.lead_ms,
            server_time_us=now,
            limits=limits,
            resume_ticket=self.resume_ticket if hello.capabilities.resumes else None,
            resume_ttl_ms=self.resume_ttl_ms if hello.capabilities.resumes else 0,
            uplink_offset=hello.resume.uplink_offset if hello.resume is not None else 0,
            resumed=self.carried is not None,
            rebuilt=self.carried is not None,
            events=self.carried.events if self.carried is not None else 0,
        )
