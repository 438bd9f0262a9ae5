"""When a path seems dead: only if something was expected, and not at once."""

from dataclasses import replace

from legato.client.connection import Connection, PathWatch
from legato.core.audio import AudioFormat
from legato.core.client_session import ClientSession
from legato.core.errors import TransportError
from legato.core.wire.messages import Hello
from legato.transports.base import TransportStatistics

MS = 1_000
STILL = TransportStatistics(
    rtt_us=20_000, lost_packets=0, sent_packets=0, bytes_sent=0, bytes_received=0, path_changes=0
)


class Path:
    """A path that is looked at every quarter of a second."""

    def __init__(self) -> None:
        self.now = 0
        self.figures = STILL
        self.watch = PathWatch(0)
        self.watch.look(STILL, 0)

    def pass_on(
        self, seconds: float, sends: int = 0, receives: int = 0, said: tuple[int, int] = (0, 0)
    ) -> list[bool]:
        """Let time pass; so many bytes go and come in every quarter of a second."""
        seen = []
        for _ in range(round(seconds * 4)):
            self.now += 250 * MS
            figures = self.figures
            self.figures = replace(
                figures,
                bytes_sent=figures.bytes_sent + sends,
                bytes_received=figures.bytes_received + receives,
            )
            seen.append(self.watch.look(self.figures, self.now, said=said))
        return seen


def test_a_path_that_answers_lives() -> None:
    path = Path()
    assert not any(path.pass_on(60, sends=100, receives=40))
    assert path.watch.heard_us == path.now


def test_silence_on_both_sides_is_no_sign_of_death() -> None:
    path = Path()
    path.pass_on(1, sends=100, receives=40)
    assert not any(path.pass_on(60))


def test_a_late_acknowledgement_of_ours_expects_nothing() -> None:
    path = Path()
    path.pass_on(1, sends=100, receives=40)
    path.watch.look(replace(path.figures, bytes_sent=path.figures.bytes_sent + 40), path.now + 100 * MS)
    path.figures = replace(path.figures, bytes_sent=path.figures.bytes_sent + 40)
    assert not any(path.pass_on(60))


def test_what_is_sent_and_not_answered_makes_a_path_suspicious() -> None:
    path = Path()
    path.pass_on(1, sends=100, receives=40)
    assert path.pass_on(2.25, sends=100) == [False] * 6 + [True] * 3
    assert path.now - path.watch.heard_us == 2_250 * MS
    assert not any(path.pass_on(0.25, sends=100, receives=1))


def test_a_path_that_seemed_dead_lives_again_when_what_is_said_arrives() -> None:
    path = Path()
    path.pass_on(1, sends=100, receives=40, said=(700, 800))
    assert path.pass_on(2, sends=100, said=(700, 2_400))[-1]
    assert all(path.pass_on(3, sends=100, receives=40, said=(700, 4_800))), "the other side is heard, no more"
    assert not any(path.pass_on(1, sends=100, receives=40, said=(701, 5_600)))
    assert not any(path.pass_on(1, sends=100, receives=40, said=(701, 6_400))), "as before"
    assert path.pass_on(2, sends=100, said=(701, 6_400))[-1]
    assert not any(path.pass_on(1, sends=100, receives=40, said=(6_400, 6_400))), "nothing is missing"


class Carrier:
    """A transport of which only the figures are asked for."""

    def __init__(self, figures: TransportStatistics | None) -> None:
        self.figures = figures

    def statistics(self) -> TransportStatistics:
        if self.figures is None:
            raise TransportError("the session is over")
        return self.figures


def test_an_attempt_was_answered_once_anything_came() -> None:
    form = AudioFormat("pcm16", 16_000)
    connection = Connection(ClientSession(Hello(input=form, output=(form,)), 0), {}, "https://localhost:1")
    assert (connection.heard, connection.rtt_us) == (False, 0)
    connection.transport = Carrier(STILL)  # type: ignore[assignment]
    assert (connection.heard, connection.rtt_us) == (False, 20_000)
    connection.transport = Carrier(replace(STILL, bytes_received=1))  # type: ignore[assignment]
    assert connection.heard
    connection.transport = Carrier(None)  # type: ignore[assignment]
    assert (connection.heard, connection.rtt_us) == (False, 0)
