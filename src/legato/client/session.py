"""A call, from the caller's side: speak, listen, interrupt, move.

Owns the life of one connection and joins capture, playback and the core session. It must not know wire bytes,
nor which device plays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from legato.client.address import DEFAULT_URL, token_for
from legato.client.calling import hello_of, move, no_answer
from legato.client.capture import CapturedAudio
from legato.client.devices import Device, VirtualSpeaker
from legato.client.events import (
    ClientEvent,
    Interrupted,
    PlaybackChanged,
    ReplyArrived,
    ReplyBegan,
    Resumed,
    ServerEvent,
    ServerLeaving,
)
from legato.client.line import CallerLine
from legato.client.playback import PlaybackBuffer, PlayedItem
from legato.client.reply import IncomingReply
from legato.client.settings import ClientSettings
from legato.client.turn import Turn
from legato.client.unread import UnreadEvents
from legato.core.client_session import ClientSession
from legato.core.errors import (
    ConnectError,
    LegatoError,
    LocalProtocolError,
    RemoteProtocolError,
    SessionClosed,
)
from legato.core.events import (
    Draining,
    EventReceived,
    Flushed,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    SessionEnded,
    Welcomed,
)
from legato.core.wire.codes import PLAYBACK_INTERVAL_US, SessionCode
from legato.core.wire.messages import Playback, Welcome
from legato.session_driver import monotonic_us
from legato.transports.base import TransportStatistics

__all__ = ["RealtimeSession", "connect"]

SHOW_A_KEY = "give an API key of this server: ClientSettings(token=...), or LEGATO_API_KEY for `legato talk`"


def connect(
    url: str = DEFAULT_URL, settings: ClientSettings | None = None, speaker: Device | None = None
) -> RealtimeSession:
    """Call the voice server at `url`.

    Returns at once; ``async with`` (or `RealtimeSession.ready`) waits until the server has taken the call.
    What is said in between is not lost: it leaves with the first flight. `speaker` plays replies; the
    default plays them in real time without a sound. Must be called on a running event loop.
    """
    return RealtimeSession(url, settings or ClientSettings(), speaker or VirtualSpeaker())


class RealtimeSession:
    """One call; made by `connect`."""

    def __init__(self, url: str, settings: ClientSettings, speaker: Device) -> None:
        """Start calling; see `connect`."""
        self.url = url
        self.settings = settings
        self.welcome: Welcome | None = None
        self.ended: SessionClosed | None = None
        rate = settings.output[0].rate
        self.playback = PlaybackBuffer(rate, settings.start_ms * rate // 1000, settings.lead_ms)
        self._capture = CapturedAudio(settings.input)
        self._speaker = speaker
        self._events = UnreadEvents()
        self._replies: dict[int, IncomingReply] = {}
        self._turn = Turn(self.playback, self._pulled)
        self._reported_us = 0
        self._welcomed = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        reactions: dict[type, Callable[[Any], None]] = {
            ReplyAudio: self._reply_audio,
            EventReceived: self._event,
            ReplyStarted: self._reply_started,
            ReplyEnded: self._reply_ended,
            Flushed: self._flushed,
            Welcomed: self._on_welcome,
            Draining: self._draining,
            Resumed: self._resumed,
            SessionEnded: self._ended,
        }
        hello = hello_of(settings, token_for(url, settings))
        self._line = CallerLine(url, settings, hello, reactions)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="connect")

    @property
    def events(self) -> AsyncIterator[ClientEvent]:
        """Return what happens in the call, in order; one reader. It ends when the call does."""
        return self._events

    @property
    def _session(self) -> ClientSession:
        return self._line.session

    @property
    def captured_samples(self) -> int:
        """Return how many samples of speech were given to `send_audio` and coded, at the input rate."""
        return self._session.captured

    def now_us(self) -> int:
        """Return the clock of all events and capture times: microseconds, monotonic."""
        return monotonic_us()

    async def ready(self) -> Welcome:
        """Wait until the server has taken the call; raises `ConnectError` when it does not."""
        try:
            async with asyncio.timeout(self.settings.connect_timeout_s):
                welcome: Welcome = await asyncio.shield(self._welcomed)
                return welcome
        except TimeoutError:
            reason = no_answer(self.url, self.settings, self._line.connection.transport)
            await self.close()
            raise ConnectError(reason) from None

    def send_audio(self, pcm: bytes, captured_us: int | None = None) -> None:
        """Say mono s16le samples at the input rate; `captured_us` is when the first of them was captured.

        Never waits: audio that the network does not take yet is kept. Raises `SessionClosed` after the end.
        """
        self._check_open()
        at_us = self.now_us() if captured_us is None else captured_us
        for payload, payload_us in self._capture.add(pcm, at_us):
            self._session.send_audio(payload, payload_us, self.now_us())
        self._settle()

    def end_utterance(self) -> None:
        """Mark a pause in what is said, so that the audio so far shares no stream with what follows."""
        self._check_open()
        self._session.end_utterance(self.now_us())
        self._settle()

    def commit(self) -> None:
        """End what was said by hand: all audio sent so far becomes one item of the conversation, however late
        some of it arrives. For sessions without turn detection; ask for the answer with `response.create`."""
        self._check_open()
        for payload, payload_us in self._capture.flush(self.now_us()):
            self._session.send_audio(payload, payload_us, self.now_us())
        self.end_utterance()
        self.send({"type": "input_audio_buffer.commit", "legato_audio_offset": self._session.captured})

    def send(self, event: dict[str, Any]) -> None:
        """Send the server an event in OpenAI Realtime's words. Raises `SessionClosed` after the end."""
        kind = event.get("type")
        if not isinstance(kind, str) or kind.startswith("legato."):
            raise LocalProtocolError(f'an event needs a "type" that is not legato.*, not {kind!r}')
        self._check_open()
        self._session.send_event(event, self.now_us())
        self._settle()

    def interrupt(self) -> None:
        """Silence the reply here at once, and have the server stop it."""
        self._check_open()
        if self._replies:
            self._flush(min(self._replies), max(self._replies))
        self._session.send_event({"type": "response.cancel"}, self.now_us())
        self._settle()

    def duck(self) -> None:
        """Silence the reply here because somebody may have begun to speak; the server decides whether it goes
        on, from the same sample, or is over. Without effect while nothing sounds."""
        self._check_open()
        generation = self._turn.duck()
        if generation is not None:
            self._session.send_event({"type": "legato.duck", "generation": generation}, self.now_us())
            self._settle()

    def migrate(self, local: tuple[str, int] | None = None) -> None:
        """Move to another local address, or just to a fresh port, without losing a sample.

        Raises `LocalProtocolError` before there is a path, and over a WebSocket."""
        self._check_open()
        move(self._line.connection.transport, local)

    @property
    def transport(self) -> str:
        """Return what carries the call: "webtransport" or "websocket"; "" while that is not decided."""
        transport = self._line.connection.transport
        return transport.info.name if transport is not None else ""

    def statistics(self) -> TransportStatistics | None:
        """Return the connection's figures, or None before there is one."""
        transport = self._line.connection.transport
        return transport.statistics() if transport is not None else None

    async def close(self) -> None:
        """Hang up and release everything. Idempotent."""
        self._connecting.cancel()
        self._line.hang_up()
        if self.ended is None:
            self._ended(SessionEnded("local", SessionCode.NO_ERROR, "hung up"))
        await self._line.close()

    async def wait_closed(self) -> SessionClosed:
        """Wait until the call is over, whoever ends it, and return how it ended."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    async def __aenter__(self) -> RealtimeSession:
        """Wait until the server has taken the call."""
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self.close()

    async def _connect(self) -> None:
        try:
            await self._line.connect()
        except LegatoError as error:
            # Whoever waits for `ready` is told now, not when their patience ends.
            self._fail(error)

    def _settle(self) -> None:
        self._line.settle()

    def _check_open(self) -> None:
        if self.ended is not None:
            # A new one each time: an exception that is raised again keeps every traceback it ever had.
            raise SessionClosed(self.ended.by, self.ended.code, self.ended.reason)

    def _tell(self, event: ClientEvent) -> None:
        self._events.put(event)

    def _on_welcome(self, event: Welcomed) -> None:
        self.welcome = event.welcome
        self.playback.keep_up(event.welcome.late_us)
        try:
            self._speaker.start(self.playback, self._pulled)
        except LegatoError as error:
            self._session.close(SessionCode.NO_ERROR, "", self.now_us())
            self._fail(error)
        if not self._welcomed.done():
            self._welcomed.set_result(event.welcome)

    def _resumed(self, event: Resumed) -> None:
        self.welcome = event.welcome
        if event.welcome.rebuilt:
            self._turn.restart()
        if not event.welcome.resumed:
            # The old replies were flushed; generations begin anew.
            self._replies.clear()
            self.playback.restart()
        self._tell(event)

    def _event(self, event: EventReceived) -> None:
        self._turn.take(event.event)
        self._tell(ServerEvent(event.event, self.now_us()))

    def _draining(self, event: Draining) -> None:
        self._tell(ServerLeaving(event.in_ms, self.now_us()))
        self._line.leave(event.in_ms, lambda: self._turn.pausing)

    def _reply_started(self, event: ReplyStarted) -> None:
        header = event.header
        try:
            if header.format not in self.settings.output:
                reason = f"a reply in {header.format}, which was not offered"
                raise RemoteProtocolError(SessionCode.UNSUPPORTED_FORMAT, reason)
            self.playback.check_lead()
            item = self.playback.begin(header.item_id, header.content_index, header.generation)
        except RemoteProtocolError as violation:
            self._session.close(violation.code, violation.reason, self.now_us())
            return
        if item is not None:
            self._replies[header.generation] = IncomingReply(header, item)

    def _reply_audio(self, event: ReplyAudio) -> None:
        reply = self._replies.get(event.generation)
        if reply is None:
            return
        if reply.received == 0:
            self._tell(ReplyBegan(reply.response_id, event.item_id, event.generation, self.now_us()))
        try:
            self.playback.check_lead()
            self.playback.append(reply.item, reply.take(event.offset, event.payload))
        except RemoteProtocolError as violation:
            self._session.close(violation.code, violation.reason, self.now_us())

    def _reply_ended(self, event: ReplyEnded) -> None:
        reply = self._replies.get(event.generation)
        if reply is None:
            return
        self.playback.append(reply.item, reply.end(event.samples))
        self.playback.complete(reply.item)
        self._tell(ReplyArrived(event.item_id, event.generation, event.samples, self.now_us()))

    def _flushed(self, event: Flushed) -> None:
        self._flush(event.first, event.generation)

    def _flush(self, first: int, last: int) -> None:
        self.playback.flush(last, first)
        self._turn.decided(first, last)
        self._report()
        stale = [number for number in self._replies if first <= number <= last]
        for number in stale:
            del self._replies[number]
        # A server's flush that only confirms what was silenced here already is no second interruption.
        if stale:
            self._tell(Interrupted(first, last, self.now_us()))

    def _pulled(self) -> None:
        if self.ended is not None:
            return
        self._report()
        self._settle()

    def _report(self) -> None:
        """Report every change, and the position of what is being played every 200 ms."""
        now = self.now_us()
        for item in self.playback.due(now - self._reported_us >= PLAYBACK_INTERVAL_US):
            self._reported_us = now
            self._report_item(item, now)

    def _report_item(self, item: PlayedItem, now: int) -> None:
        reply = self._replies.get(item.generation)
        played = item.played
        if item.state == "done" and reply is not None:
            # A codec's delay makes the decoded reply a little shorter than its payloads count.
            played = reply.whole if reply.whole is not None else reply.received
            del self._replies[item.generation]
        self._session.report_playback(
            Playback(
                item_id=item.item_id,
                content_index=item.content_index,
                generation=item.generation,
                played=played,
                buffered=item.buffered,
                underruns=item.underruns,
                state=item.state,
            ),
            now,
        )
        self._tell(
            PlaybackChanged(
                item.item_id,
                item.generation,
                played,
                item.buffered,
                item.underruns,
                item.state,
                now,
                item.skipped,
            )
        )

    def _ended(self, event: SessionEnded) -> None:
        if self.ended is not None:
            return
        self.ended = SessionClosed(event.by, event.code, event.reason)
        if not self._welcomed.done():
            reason = f"{self.url} did not take the call: {event.reason or self.ended}"
            if event.code == SessionCode.UNAUTHORIZED:
                reason += f" ({SHOW_A_KEY})"
            self._fail(ConnectError(reason))
        self._turn.decided()
        self._events.close()
        self._over.set()
        self._speaker.stop()

    def _fail(self, error: LegatoError) -> None:
        if not self._welcomed.done():
            self._welcomed.set_exception(error)
            # Whoever never waits for `ready` learns of the failure by `SessionClosed`.
            self._welcomed.exception()
        if self.ended is None:
            self._ended(SessionEnded("transport", 0, str(error)))
