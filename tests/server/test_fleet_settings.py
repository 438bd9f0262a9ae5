"""Settings of a fleet: what belongs together, and what is said of the rest."""

from pathlib import Path
from typing import Any

import pytest

from legato.core.errors import SettingsError
from legato.server.fleet_settings import host_and_port
from legato.server.settings_sources import load_settings

WHOLE = {"keys": "/keys.json", "tunnel": "10.0.0.1:4434", "balancers": ["10.0.0.0/24"]}


def loaded(**fleet: Any) -> Any:
    return load_settings({"fleet": fleet}).fleet


def test_addresses_of_both_families_are_read() -> None:
    assert host_and_port("10.0.0.1:4434") == ("10.0.0.1", 4434)
    assert host_and_port("[fd00::1]:0") == ("fd00::1", 0)


@pytest.mark.parametrize(
    "text", ["", "4434", "10.0.0.1", "10.0.0.1:", "host:1", "fd00::1:1", "[10.0.0.1]:1", "10.0.0.1:65536"]
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="write an IP address, a colon and a port"):
        host_and_port(text)


def test_a_server_stands_alone_unless_told_otherwise() -> None:
    assert loaded().keys is None
    assert loaded(**WHOLE).keys == Path("/keys.json")


def test_workers_on_one_ipv6_address_need_a_name() -> None:
    fleet = WHOLE | {"tunnel": "[fd00::1]:4434"}
    with pytest.raises(SettingsError, match="workers behind a tunnel with an IPv6 address"):
        load_settings({"fleet": fleet, "workers": 2})
    load_settings({"fleet": fleet})
    load_settings({"fleet": fleet | {"server_id": "00" * 8}, "workers": 2})


@pytest.mark.parametrize("text", ["00c0ffee00c0ffee", "0x00c0ffee00c0ffee", "AMD/7gDA/+4="])
def test_a_server_id_is_read_as_people_write_it(text: str) -> None:
    assert loaded(**WHOLE, server_id=text).server_id_octets == bytes.fromhex("00c0ffee00c0ffee")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keys": None}, "fleet.tunnel needs fleet.keys"),
        ({"balancers": []}, "fleet.tunnel needs fleet.balancers"),
        ({"tunnel": None}, "fleet.balancers needs fleet.tunnel"),
        ({"tunnel": "0.0.0.0:1"}, "does not say where balancers reach this server"),
        ({"tunnel": "here"}, "write an IP address"),
        ({"balancers": ["10.0.0.1/24"]}, "is no network"),
        ({"server_id": "ab"}, "is no server ID"),
        ({"server_id": "é"}, "is no server ID"),
        ({"profile": "aws-nlb"}, "fleet.profile = aws-nlb needs fleet.server_id"),
        ({"preferred_addresses": ["10.0.0.1:1", "10.0.0.2:1"]}, "one IPv4 and one IPv6 address"),
        ({"preferred_addresses": ["10.0.0.1"]}, "write an IP address"),
        ({"cid_lifetime_seconds": 0}, "fleet.cid_lifetime_seconds"),
    ],
)
def test_what_does_not_fit_together_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        loaded(**(WHOLE | changes))
