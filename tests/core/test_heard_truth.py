"""Properties: what a model is told that was heard was heard, and clocks that jump break nothing."""

from itertools import accumulate, pairwise

import hypothesis.strategies as st
from hypothesis import given
from tests.core.link import PCM, connected, of_type, pcm

from legato.core import Playback, SessionState
from legato.core.dialects.realtime.spoken_text import SpokenText
from legato.core.events import AudioReceived, Flushed, PlaybackReported, ReplyAudio, SessionEnded

RESUMABLE = {"resume_ticket": "t1", "resume_ttl_ms": 60_000}


@given(
    lengths=st.lists(st.integers(20, 2_000), min_size=1, max_size=6),
    sent_whole=st.integers(1, 6),
    steps=st.lists(st.integers(1, 2_000), max_size=8),
    reports=st.lists(st.booleans(), min_size=8, max_size=8),
    flight=st.integers(0, 2_000),
)
def test_a_flushed_answer_counts_to_the_sentence_that_was_heard(
    lengths: list[int], sent_whole: int, steps: list[int], reports: list[bool], flight: int
) -> None:
    """Any sentences, any reports lost on the way, and a player that goes on while the flush travels."""
    link = connected(**RESUMABLE)
    spoken = SpokenText()
    generation = link.server.begin_reply("resp", "item", PCM, 0)
    sent = lengths[:sent_whole]
    starts = [0, *accumulate(sent)]
    sentences = [f"first{index} second{index} third{index}." for index in range(len(sent))]
    for sentence, (start, stop) in zip(sentences, pairwise(starts), strict=True):
        spoken.add(sentence, start)
        link.server.send_audio(generation, pcm(start, stop - start), stop - start, 0)
        spoken.note_sent(stop - start)
    if sent_whole >= len(lengths):
        link.server.end_reply(generation, 0)
        spoken.complete = True
    link.settle()
    played = 0

    def report(state: str) -> None:
        link.client.report_playback(
            Playback(item_id="item", generation=generation, played=played, state=state),  # type: ignore[arg-type]
            0,
        )
        link.settle()

    for step, arrives in zip(steps, reports, strict=False):
        played = min(starts[-1], played + step)
        if arrives:
            report("playing")
    link.server.flush(0)
    played = min(starts[-1], played + flight)
    link.settle()
    assert of_type(link.take(link.near), Flushed)
    report("stopped")
    for heard in of_type(link.take(link.far), PlaybackReported):
        spoken.note_heard(heard.played)
    spoken.stopped = True
    text = spoken.certain_text()
    whole = " ".join(sentences[: sum(stop <= played for stop in starts[1:])])
    begun = " ".join(sentences[: sum(start < played for start in starts[:-1])])
    assert text.startswith(whole)
    assert begun.startswith(text)
    assert link.server.ledger.violations == 0


@given(
    lies=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.integers(0, 1 << 53),
            st.integers(0, 1 << 53),
            st.sampled_from(["playing", "paused", "stopped", "done"]),
        ),
        max_size=20,
    )
)
def test_no_lie_of_a_player_is_heard(lies: list[tuple[int, int, int, str]]) -> None:
    link = connected(**RESUMABLE)
    for index in range(3):
        generation = link.server.begin_reply("resp", f"item_{index}", PCM, 0)
        link.server.send_audio(generation, pcm(0, 100), 100, 0)
    link.settle()
    for generation, played, buffered, state in lies:
        if played < 1 << 53 and buffered < 1 << 53:
            link.client.report_playback(
                Playback(
                    item_id="x",
                    generation=generation,
                    played=played,
                    buffered=buffered,
                    state=state,  # type: ignore[arg-type]
                ),
                0,
            )
    link.settle()
    assert all(link.server.ledger.heard(generation, 0) <= 100 for generation in range(5))
    assert 0 <= link.server.credit_us(0) <= 10_000_000
    assert link.server.state is SessionState.ACTIVE


@given(
    jumps=st.lists(
        st.tuples(st.integers(-(1 << 40), 1 << 40), st.integers(1, 500), st.booleans()), max_size=20
    )
)
def test_clocks_that_jump_lose_nothing(jumps: list[tuple[int, int, bool]]) -> None:
    """Both sides' clocks, forwards and backwards, in the middle of a call and of a reply."""
    link = connected(**RESUMABLE)
    generation = link.server.begin_reply("resp", "item", PCM, 0)
    said = replied = 0
    received: list[ReplyAudio] = []
    frames: list[AudioReceived] = []
    for jump, samples, replies in jumps:
        link.now += jump
        if replies:
            link.server.send_audio(generation, pcm(replied, samples), samples, link.now)
            replied += samples
        else:
            link.client.send_audio(pcm(said, samples), abs(link.now), link.now)
            said += samples
        link.wait(300_000)
        received += of_type(link.near.events, ReplyAudio)
        frames += of_type(link.take(link.far), AudioReceived)
        assert not of_type(link.take(link.near), SessionEnded)
    assert b"".join(event.payload for event in received) == pcm(0, replied)
    assert b"".join(event.frame.payload for event in frames) == pcm(0, said)
