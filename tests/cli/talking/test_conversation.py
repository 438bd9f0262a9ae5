"""The order of a conversation, held with a scripted call: turns, barge-in, echo, silence, hang-ups."""

import asyncio
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from legato._inbox import Inbox
from legato.cli.talking import conversation
from legato.cli.talking.conversation import Conversation, Line, Plan
from legato.cli.talking.speech import Recording
from legato.cli.talking.turns import TurnLog
from legato.cli.talking.view import Answered, News, TurnOver
from legato.client.events import (
    ClientEvent,
    Interrupted,
    PlaybackChanged,
    ReplyArrived,
    ReplyBegan,
    ServerEvent,
)
from legato.client.session import RealtimeSession
from legato.core.errors import AgentError, SessionClosed
from legato.session_driver import monotonic_us

RATE = 16_000
OUT = 24_000
VOICE = b"\x00\x10" * (RATE // 20)


class ScriptedCall:
    """Plays both the client session and the server behind it: `react` is told when speech begins and ends."""

    def __init__(self, react: Callable[["ScriptedCall", str], None]) -> None:
        self.settings = SimpleNamespace(input=SimpleNamespace(rate=RATE))
        self.playback = SimpleNamespace(buffered=OUT, current=None)
        self.ended: SessionClosed | None = None
        self.events: Inbox[ClientEvent] = Inbox()
        self.said: list[str] = []
        self._react = react
        self._voiced = False
        self._generation = 0

    def now_us(self) -> int:
        return monotonic_us()

    def send_audio(self, pcm: bytes, captured_us: int) -> None:
        if self.ended is not None:
            raise self.ended
        voiced = pcm.count(0) < len(pcm)
        if voiced != self._voiced:
            self._voiced = voiced
            self._react(self, "began" if voiced else "ended")

    def tell(self, kind: str, **fields: Any) -> None:
        self.events.put(ServerEvent({"type": kind, **fields}, self.now_us()))

    def begin_reply(self, text: str) -> int:
        self._generation += 1
        number, now = self._generation, self.now_us()
        self.tell("response.created", response={"id": f"r{number}"})
        if text:
            self.tell("response.output_audio_transcript.delta", response_id=f"r{number}", delta=text)
        self.events.put(ReplyBegan(f"r{number}", f"i{number}", number, now))
        self.events.put(PlaybackChanged(f"i{number}", number, OUT // 2, OUT, 0, "playing", now))
        return number

    def end_reply(self, number: int) -> None:
        now = self.now_us()
        self.events.put(ReplyArrived(f"i{number}", number, OUT, now))
        self.tell("response.done", response={"id": f"r{number}", "status": "completed"})
        self.events.put(PlaybackChanged(f"i{number}", number, OUT, 0, 0, "done", now))

    def flush(self, number: int) -> None:
        self.events.put(PlaybackChanged(f"i{number}", number, OUT, 0, 0, "stopped", self.now_us()))
        self.events.put(Interrupted(number, number, self.now_us()))
        self.tell("response.done", response={"id": f"r{number}", "status": "cancelled"})

    def hang_up(self, code: int) -> None:
        self.ended = SessionClosed("peer", code, "enough")
        self.events.close()


class Remembering:
    def __init__(self) -> None:
        self.over: list[int] = []

    def show(self, news: News) -> None:
        if isinstance(news, TurnOver):
            self.over.append(news.turn.number)

    def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "AFTER_REPLY_S", 0.03)
    monkeypatch.setattr(conversation, "AFTER_ECHO_S", 0.1)
    monkeypatch.setattr(conversation, "POLL_S", 0.005)


def line(name: str, barge_in_s: float | None = None) -> Line:
    return Line(Recording(name, VOICE, len(VOICE) // 2), barge_in_s)


async def hold(call: ScriptedCall, *lines: Line, patience_s: float = 5.0) -> tuple[TurnLog, Remembering]:
    view = Remembering()
    log = TurnLog(view, OUT)
    await Conversation(cast(RealtimeSession, call), log).hold(Plan(lines, patience_s))
    return log, view


async def test_each_line_waits_for_the_answer_before_it() -> None:
    open_replies: list[int] = []

    def react(call: ScriptedCall, what: str) -> None:
        assert not open_replies
        if what == "ended":
            open_replies.append(call.begin_reply("Yes. "))
            asyncio.get_running_loop().call_later(0.05, lambda: call.end_reply(open_replies.pop()))

    log, view = await hold(ScriptedCall(react), line("a.wav"), line("b.wav"))
    assert [(turn.said, turn.answer) for turn in log.turns] == [("a.wav", "Yes."), ("b.wav", "Yes.")]
    assert view.over == [1, 2]
    for turn in log.turns:
        latency = turn.since_speech_ms(turn.began_us)
        assert latency is not None
        assert -1 <= latency < 1000
        assert turn.lead_ms == 1000


async def test_a_line_barges_into_the_answer() -> None:
    def react(call: ScriptedCall, what: str) -> None:
        if what == "ended":
            number = call.begin_reply("Once upon a time. ")
            if number == 2:
                call.end_reply(number)
        elif call._generation:
            call.flush(1)

    log, view = await hold(ScriptedCall(react), line("story.wav"), line("stop.wav", barge_in_s=0.5))
    assert log.turns[0].interrupted_us is not None
    assert log.turns[1].interrupted_us is None
    assert view.over == [1, 2]


async def test_an_echo_is_listened_to_for_a_while() -> None:
    def react(call: ScriptedCall, what: str) -> None:
        if what == "began":
            call.begin_reply("")

    log, _ = await hold(ScriptedCall(react), line("a.wav"))
    assert log.turns[0].wordless
    assert not log.turns[0].settled


async def test_no_answer_is_a_failure_with_a_name() -> None:
    with pytest.raises(AgentError, match=r"no answer to a\.wav within 0\.1 s"):
        await hold(ScriptedCall(lambda call, what: None), line("a.wav"), patience_s=0.1)


async def test_a_failed_answer_is_a_failure_at_once() -> None:
    def react(call: ScriptedCall, what: str) -> None:
        if what == "ended":
            call.tell("response.created", response={"id": "r1"})
            call.tell("response.done", response={"id": "r1", "status": "failed"})

    with pytest.raises(AgentError, match=r"could not answer a\.wav"):
        await hold(ScriptedCall(react), line("a.wav"))


async def test_an_answer_that_stops_coming_ends_the_wait() -> None:
    def react(call: ScriptedCall, what: str) -> None:
        if what == "ended":
            call.begin_reply("Well, ")

    log, _ = await hold(ScriptedCall(react), line("a.wav"), patience_s=0.2)
    assert log.turns[0].answer == "Well,"


@pytest.mark.parametrize("moment", ["began", "ended"])
async def test_a_server_that_hangs_up_ends_the_conversation(moment: str) -> None:
    def react(call: ScriptedCall, what: str) -> None:
        if what == moment:
            call.hang_up(1)

    with pytest.raises(SessionClosed, match="code 1: enough"):
        await hold(ScriptedCall(react), line("a.wav"))


@pytest.mark.parametrize("code", [0, 9])
async def test_listening_ends_with_the_call(code: int) -> None:
    call = ScriptedCall(lambda call, what: None)
    call.hang_up(code)
    listening = Conversation(cast(RealtimeSession, call), TurnLog(Remembering(), OUT)).listen()
    with pytest.raises(SessionClosed) if code else contextlib.nullcontext():
        await listening


async def test_a_view_that_fails_ends_the_conversation() -> None:
    class Broken(Remembering):
        def show(self, news: News) -> None:
            if isinstance(news, Answered):
                raise BrokenPipeError

    def react(call: ScriptedCall, what: str) -> None:
        if what == "ended":
            call.begin_reply("Yes. ")

    log = TurnLog(Broken(), OUT)
    with pytest.raises(BrokenPipeError):
        await Conversation(cast(RealtimeSession, ScriptedCall(react)), log).hold(Plan((line("a.wav"),)))


async def test_cancelling_leaves_no_task_behind() -> None:
    task = asyncio.create_task(hold(ScriptedCall(lambda call, what: None), line("a.wav")))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
