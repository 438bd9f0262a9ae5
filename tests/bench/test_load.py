"""The limit of a frame goes with the machine."""

from legato.bench.load import Run, cpu_limit_us


def baseline(us_per_frame: float) -> Run:
    seen = {"frames_in_window": 1000}
    return Run(
        cpu_us=round(us_per_frame * 1000),
        threads_us={},
        memory_before=0,
        memory_during=0,
        seconds=1,
        sessions=100,
        seen=seen,
    )


def test_it_is_what_was_promised_on_a_machine_like_the_one_of_the_promise() -> None:
    assert cpu_limit_us(baseline(65)) == 60
    assert cpu_limit_us(None) == 60


def test_a_faster_machine_gets_no_stricter_one_and_a_slower_one_its_share() -> None:
    assert cpu_limit_us(baseline(30)) == 60
    assert cpu_limit_us(baseline(130)) == 120
