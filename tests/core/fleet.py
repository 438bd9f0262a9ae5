"""A client whose servers die without a word: each knows of the one before only what a checkpoint says."""

from typing import Any

import msgspec
from tests.core.link import PCM, a_hello, joined, let_all_arrive, pcm

from legato.core import Capabilities, ClientSession, ServerSession, Terms
from legato.core.events import (
    AudioReceived,
    EventReceived,
    GapReported,
    Welcomed,
)
from legato.core.terms import CarriedSession
from legato.core.uplink_sender import UplinkSettings

CARRIES = Capabilities(playback_reports=True, resume=True, checkpoints=True)
LEAP = 1_024


class Fleet:
    """A client, the server it is on, and what both have seen."""

    def __init__(self, form: Any = PCM) -> None:
        self.now = 0
        self.form = form
        self.heard: list[tuple[int, int]] = []
        self.understood = 0
        self.gaps: list[tuple[int, int]] = []
        self.taken: list[int] = []
        self.said = 0
        self.checkpoints: dict[str, tuple[CarriedSession, int, int, int]] = {}
        self.told: list[Any] = []
        self.client = ClientSession(a_hello(form, capabilities=CARRIES), 0, UplinkSettings(group_us=100_000))
        self.join(self.client)
        self.server.accept(self.terms(), 0)
        self.deliver()

    def terms(self, carried: CarriedSession | None = None) -> Terms:
        return Terms(
            session_id="call_1", output=PCM, resume_ticket="t", resume_ttl_ms=60_000, carried=carried
        )

    def join(self, client: ClientSession) -> None:
        self.server = ServerSession(self.now)
        self.near, self.far = joined(client, self.server)
        self.deliver()

    def deliver(self) -> None:
        """Let everything arrive."""
        let_all_arrive(lambda: (self.near, self.far), self.now, self.collect)

    def collect(self) -> None:
        self.near.collect()
        self.far.collect()
        for event in self.far.events:
            if isinstance(event, AudioReceived):
                frame = event.frame
                if self.form is PCM:
                    assert frame.payload == pcm(frame.offset, frame.samples)
                self.hear(frame.offset, frame.offset + frame.samples)
                self.server.consumed(frame.samples, len(frame.payload))
            elif isinstance(event, GapReported):
                self.gaps.append((event.gap.start, event.gap.stop))
                self.hear(event.gap.start, event.gap.stop)
            elif isinstance(event, EventReceived):
                self.taken.append(event.event["number"])
        self.told += self.near.events
        self.near.events, self.far.events = [], []

    def hear(self, start: int, stop: int) -> None:
        assert start == (self.heard[-1][1] if self.heard else 0), "audio out of order"
        self.heard.append((start, stop))

    def checkpoint(self, behind: int = 0) -> None:
        """The server says how far it has come, all but the last `behind` pieces of audio; never less far."""
        kept = self.understood = max(self.understood, len(self.heard) - behind)
        offset = self.heard[kept - 1][1] if kept else 0
        state = f"state {len(self.checkpoints)}"
        events = self.server.events_taken
        carried = CarriedSession(uplink_offset=offset, events=events, generation=self.server.generation)
        self.checkpoints[state] = (carried, kept, len(self.taken), len(self.gaps))
        self.server.send_checkpoint(state, offset, events)

    def die(self) -> None:
        """The server and all that it has not said is gone."""
        self.client.closed("transport", 0, "gone", self.now)
        self.collect()

    def move(self, **changes: Any) -> Welcomed | None:
        """Go on with another server; None if the client has nothing to go on with."""
        request = changes.pop("request", None) or self.client.resume_request()
        if request.checkpoint is None:
            return None
        carried, heard, taken, gaps = self.checkpoints[request.checkpoint]
        del self.heard[heard:], self.taken[taken:], self.gaps[gaps:]
        request = msgspec.structs.replace(request, **changes)
        hello = msgspec.structs.replace(self.client.hello, resume=request)
        fresh = ClientSession(hello, self.now, self.client.settings, continues=self.client)
        self.join(fresh)
        start = min(carried.uplink_offset, request.uplink_offset)
        if start < carried.uplink_offset:
            # A packet that cannot be cut is heard again whole.
            self.heard = [piece for piece in self.heard if piece[1] <= start]
        self.understood = len(self.heard)
        self.server.accept(self.terms(carried), self.now)
        self.told.clear()
        self.deliver()
        self.client = fresh
        return next((event for event in self.told if isinstance(event, Welcomed)), None)

    def speak(self, samples: int) -> None:
        start = self.client.captured
        self.client.send_audio(pcm(start, samples), start, self.now)

    def say(self) -> None:
        self.client.send_event({"type": "test.number", "number": self.said}, self.now)
        self.said += 1


def a_fleet() -> Fleet:
    fleet = Fleet()
    fleet.speak(1_000)
    fleet.say()
    fleet.deliver()
    fleet.checkpoint()
    fleet.deliver()
    return fleet
