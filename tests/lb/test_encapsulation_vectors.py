"""The reference writes and reads exactly the datagrams that wire/vectors/encapsulation.json fixes."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from tests.lb.encapsulation_reference import Opened, RefusedError, open_datagram, seal, siphash24

VECTORS = json.loads((Path(__file__).parents[2] / "wire/vectors/encapsulation.json").read_text())
KEY, OTHER_KEY = bytes.fromhex(VECTORS["key"]), bytes.fromhex(VECTORS["other_key"])


def name(case: dict[str, Any]) -> str:
    return str(case["name"])


def test_the_hash_is_that_of_its_paper() -> None:
    assert siphash24(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@pytest.mark.parametrize("case", VECTORS["sealed"], ids=name)
def test_sealed_datagrams(case: dict[str, Any]) -> None:
    sealed_with = OTHER_KEY if "sealed_with" in case else KEY
    client, payload = ipaddress.ip_address(case["client"]), bytes.fromhex(case["payload"])
    datagram = bytes.fromhex(case["datagram"])
    assert seal(sealed_with, case["reply"], client, case["port"], payload) == datagram
    opened = open_datagram([KEY, OTHER_KEY], datagram)
    assert opened == Opened(case["reply"], client, case["port"], payload)


@pytest.mark.parametrize("case", VECTORS["refused"], ids=name)
def test_refused_datagrams(case: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refused:
        open_datagram([KEY], bytes.fromhex(case["datagram"]))
    assert str(refused.value) == case["reason"]
