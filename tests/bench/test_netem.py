"""`legato bench netem`: it measures what it says, in places of its own. Figures depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from legato.bench import places

LEGATO = str(Path(sys.executable).with_name("legato"))


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_every_figure_is_taken() -> None:
    try:
        with places.join("clean"):
            pass
    except places.LinkUnavailableError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [LEGATO, "bench", "netem", "--packets", "200", "--json"], capture_output=True, text=True, timeout=80
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["lost_elsewhere"] == 0
    assert 0 < report["delay_error_ms"]["p50"] < 10
    assert 0 < report["loss_percent"] < 15
    assert 5 < report["jitter_ms"]["p50"] < 15
    for rate in ("udp_rate_kbps", "tcp_rate_kbps"):
        assert 8_000 < report[rate] < 11_000
    assert report["tcp_capacity_mbps"] > 20
