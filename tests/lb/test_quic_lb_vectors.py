"""The reference writes and reads exactly the octets that wire/vectors/quic_lb.json fixes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.lb.quic_lb_reference import Config, decode, encode

VECTORS = json.loads((Path(__file__).parents[2] / "wire/vectors/quic_lb.json").read_text())


def config_of(case: dict[str, Any]) -> Config:
    key = bytes.fromhex(case["key"]) if "key" in case else None
    return Config(**{**case, "key": key})


def name(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=name)
def test_connection_ids(case: dict[str, Any]) -> None:
    config = config_of(case["config"])
    server_id, nonce, cid = (bytes.fromhex(case[field]) for field in ("server_id", "nonce", "cid"))
    random = bytes.fromhex(case.get("random", "00" * 20))
    assert config.is_legal()
    assert encode(config, server_id, nonce, random) == cid
    assert decode([config], cid, long_header=True) == (config.id, server_id)
    assert decode([config], cid + bytes(30), long_header=False) == (config.id, server_id)


@pytest.mark.parametrize("case", VECTORS["decode"], ids=name)
def test_destination_connection_ids(case: dict[str, Any]) -> None:
    configs = [config_of(config) for config in case["configs"]]
    decoded = decode(configs, bytes.fromhex(case["dcid"]), long_header=case["long_header"])
    if "unroutable" in case:
        assert decoded == case["unroutable"]
    else:
        assert decoded == (case["config_id"], bytes.fromhex(case["server_id"]))
