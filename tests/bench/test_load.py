import pytest

from legato.bench.load import cpu_limit_us


@pytest.mark.parametrize(
    ("baseline", "limit"),
    [
        pytest.param(None, 60, id="nothing-to-go-by"),
        pytest.param(40.0, 60, id="a-faster-machine"),
        pytest.param(65.0, 60, id="the-machine-on-which-it-was-set"),
        pytest.param(130.0, 120, id="a-machine-half-as-fast"),
    ],
)
def test_the_limit_grows_with_what_the_baseline_takes(baseline: float | None, limit: float) -> None:
    assert cpu_limit_us(baseline) == limit
