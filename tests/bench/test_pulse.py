"""The load: every frame is sent at its time and its echo is counted once."""

import os
from collections import deque
from collections.abc import Iterable, Sequence

from legato.bench.pulse import FRAME_BYTES, PulseTimes, pulse


class Mirror:
    """Calls whose echo is there at once; `lose` drops every echo with that number."""

    def __init__(self, count: int, lose: int = -1) -> None:
        self.count = count
        self.sent: list[tuple[int, int]] = []
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._readable = os.eventfd(0, os.EFD_NONBLOCK)
        self._lose = lose

    def filenos(self) -> Sequence[int]:
        return [self._readable]

    def send(self, who: int, number: int, payload: bytes) -> None:
        assert len(payload) == FRAME_BYTES
        self.sent.append((who, number))
        if number != self._lose:
            self._waiting.append((who, payload))
            os.eventfd_write(self._readable, 1)

    def receive(self, fileno: int) -> Iterable[tuple[int, bytes]]:
        os.eventfd_read(self._readable)
        echoes = list(self._waiting)
        self._waiting.clear()
        return echoes

    def close(self) -> None:
        os.close(self._readable)


def test_every_frame_is_sent_and_timed() -> None:
    mirror = Mirror(4)
    marks: list[bool] = []
    # Long enough that a machine which hesitates for half a second does not step over the whole window.
    result = pulse(mirror, PulseTimes(warm_up=0.1, window=1.1, tail=1), marks.append)
    mirror.close()
    assert mirror.sent == [(who, number) for number in range(60) for who in range(4)]
    assert result.frames_sent == result.frames_echoed == 240
    assert result.frames_out_of_order == 0
    assert marks == [True, False]
    assert result.delays_ns is not None
    # A frame and its echo may lie on two sides of an edge of the window when the machine hesitates.
    assert 0 < len(result.delays_ns) <= 240
    assert 0 < result.frames_in_window <= 240
    assert min(result.delays_ns) >= 0


def test_a_lost_frame_is_seen() -> None:
    mirror = Mirror(2, lose=3)
    result = pulse(mirror, PulseTimes(warm_up=0.02, window=0.1, tail=0.05), lambda within: None)
    mirror.close()
    assert result.frames_sent - result.frames_echoed == 2
    assert result.frames_out_of_order == 2
