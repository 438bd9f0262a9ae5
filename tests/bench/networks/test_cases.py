"""The cases say the same as the files that make the networks."""

import tomllib
from pathlib import Path

import pytest

from legato.bench.networks.cases import ALL, QUICK, Case, chosen
from legato.core.errors import SettingsError

FILES = Path(__file__).parents[3] / "bench" / "networks"


def story(case: Case) -> dict[str, object]:
    with (FILES / f"{case.network}.toml").open("rb") as file:
        return tomllib.load(file)


def delay_of(part: object) -> float | None:
    return part.get("delay_ms") if isinstance(part, dict) else None


def test_every_network_is_a_case() -> None:
    assert {case.network for case in ALL} == {path.stem for path in FILES.glob("*.toml")}
    assert set(QUICK) < {case.network for case in ALL}


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.network)
def test_a_case_has_the_delays_and_moments_of_its_file(case: Case) -> None:
    file = story(case)
    assert case.delay_ms(0) == delay_of(file["both"])
    events = file.get("event", [])
    assert isinstance(events, list)
    for event in events:
        at, length = event["at_ms"], event.get("for_ms", 0)
        delay = delay_of(event.get("both"))
        if delay is not None:
            assert case.delay_ms(at) == delay
            assert not length or case.delay_ms(at + length) == case.delay_ms(0)
        if event.get("both", {}).get("blackout") or "rebind" in event:
            inside = [one for one in case.disturbances if one.at_ms <= at and at + length <= one.until_ms]
            assert inside, f"nothing is said of {event}"
        assert at + length < 1000 * case.seconds, "calls end before it"


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.network)
def test_a_case_knows_the_mean_of_its_jitter(case: Case) -> None:
    file = story(case)
    parts = [file["both"], *(event.get("both", {}) for event in file.get("event", []))]  # type: ignore[attr-defined]
    jitter = [part for part in parts if "jitter_ms" in part]
    share = {"exponential": 1.0, "bell": 0.5, "uniform": 0.5}
    means = {int(part["jitter_ms"] * share[part["jitter"]]) for part in jitter}
    assert means <= {case.jitter_ms}
    assert bool(case.jitter_ms) is bool(jitter)


def test_the_clean_network_is_always_measured() -> None:
    assert [case.network for case in chosen(("fades",), quick=False)] == ["clean", "fades"]
    assert [case.network for case in chosen((), quick=True)] == list(QUICK)
    assert chosen((), quick=False) == list(ALL)


def test_an_unknown_network_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match='there is no network "tarin" here; there are clean, wifi'):
        chosen(("tarin",), quick=False)
