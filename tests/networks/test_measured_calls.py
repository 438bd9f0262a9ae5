"""A measured call through a real network in which the client gets another address: nothing of it is lost."""

import random
from pathlib import Path

import pytest

from legato.bench.networks.cases import ALL
from legato.bench.networks.cell import hold
from legato.bench.networks.measures import measure
from legato.bench.networks.run import references
from legato.bench.networks.track import RATE, Track
from legato.bench.places import LinkUnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_call_keeps_every_sample_when_its_address_changes(tmp_path: Path) -> None:
    case = next(case for case in ALL if case.network == "handover")
    alone = type(case)(case.network, case.delays, 6, case.disturbances, calls=1)
    track = Track(random.Random(5).randbytes(2 * 6 * RATE), ())
    track.save(tmp_path, "call-0")
    try:
        seen = hold(alone, "quic", 1, tmp_path, tmp_path / "quic")
    except LinkUnavailableError as error:
        pytest.skip(str(error))
    (call,) = seen["calls"]
    assert not call["failed"], seen["server_said"]
    assert all(resumed["same"] for resumed in call["resumed"])
    figures = measure(alone, seen, references({"call-0": track}))
    assert (figures["samples_lost"], figures["damaged_calls"], figures["stale_blocks"]) == (0, 0, 0)
    assert figures["heard_error_ms"] == 0
    assert seen["packets"]["up"]["blackout"] > 0, "there was an outage"
