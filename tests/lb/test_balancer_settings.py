"""What an operator may set, and what is said when it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from legato.core.errors import SettingsError
from legato.lb.settings import BalancerSettings, load_balancer_settings


def test_flags_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "balancer.toml"
    file.write_text(
        'listen = ["0.0.0.0:443", "[::]:443"]\nthreads = 2\n[routing]\nallowed = ["10.0.0.0/8"]\n'
    )
    flags = {"threads": 3, "discovery.static.servers": ["10.0.0.1:1"], "admin.port": None}
    settings = load_balancer_settings(flags, file)
    assert settings.addresses == [("0.0.0.0", 443), ("::", 443)]
    assert settings.threads == 3
    assert settings.discovery.static.servers == ("10.0.0.1:1",)
    assert str(settings.fleet_terms.allowed[0]) == "10.0.0.0/8"
    assert settings.admin.port == BalancerSettings().admin.port


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"listen": ["localhost:1"]}, "'localhost:1' is no IP address and port"),
        ({"listen": ["10.0.0.1"]}, "no IP address and port"),
        ({"listen": ["::1:443"]}, "no IP address and port"),
        ({"listen": ["10.0.0.1:65536"]}, "no IP address and port"),
        ({"listen": []}, "listen"),
        ({"threads": -1}, "threads = -1 cannot be used"),
        ({"routing.allowed": ["10.0.0.1/8"]}, "routing.allowed: '10.0.0.1/8' is no network"),
        ({"routing.balancers": ["nobody"]}, "routing.balancers: 'nobody'"),
        ({"routing.derived": True}, "routing.derived needs routing.allowed"),
        ({"health.timeout_seconds": 2.0}, "must not exceed health.interval_seconds"),
        ({"health.load_url": "https://{host}:99999/"}, "health.load_url: 'https://{host}:99999/' is no URL"),
        ({"health.load_url": "{host}:4433/readyz"}, "health.load_url: '{host}:4433/readyz' is no URL"),
        ({"discovery.dns.least_seconds": 99.0}, "must not exceed dns.most_seconds"),
        ({"discovery.file": "a"}, "unknown setting discovery.file"),
    ],
)
def test_a_mistake_is_one_sentence(flags: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_balancer_settings(flags)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_flag_within_what_is_no_group_in_the_file_is_no_accident(tmp_path: Path) -> None:
    file = tmp_path / "balancer.toml"
    file.write_text('discovery = "dns"')
    assert load_balancer_settings({"discovery.source": "dns"}, file).discovery.source == "dns"
    with pytest.raises(SettingsError, match="discovery = 'dns' cannot be used"):
        load_balancer_settings({}, file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML"),
        ("a = " + "9" * 5000, "not valid TOML"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, text: str | None, reason: str) -> None:
    file = tmp_path / "balancer.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=reason):
        load_balancer_settings({}, file)
