"""The parent of several workers when the system has no more to give."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from legato.server.settings import ServerSettings
from legato.server.workers import Workers

FULL = BlockingIOError(11, "Resource temporarily unavailable")


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    def no_process(*_: object, **__: object) -> None:
        raise FULL

    settings = ServerSettings.model_validate({"listen": {"port": 0}, "workers": 2})
    made = Workers(settings, {}, None)
    monkeypatch.setattr(subprocess, "Popen", no_process)
    yield made
    for each in [*made._tcp, *(each for place in made._places for each in place.udp)]:
        each.close()


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(parent: Workers) -> None:
    """The others serve calls: their parent must not end, and take them along."""
    parent._served = True
    (place, _) = parent._places
    before = len(os.listdir("/proc/self/fd"))
    with capture_logs() as logs:
        parent._start_due()
        pause, place.start_at = place.pause, 0.0
        parent._start_due()
    assert [line["reason"] for line in logs] == [str(FULL)] * 2
    assert place.process is None
    assert place.start_at is not None
    assert place.pause > pause > 0
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_first_worker_that_cannot_be_started_ends_the_program(parent: Workers) -> None:
    with pytest.raises(BlockingIOError):
        parent._start_due()
