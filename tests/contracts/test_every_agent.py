"""Every agent keeps the contract of agents; a new file with `build` is found by itself."""

import importlib

import pytest

from legato._plugins import names, resolve
from legato.testing.agents import check_agent

AGENTS = [
    name for name in names("agents") if hasattr(importlib.import_module(f"legato.agents.{name}"), "build")
]


@pytest.mark.parametrize("name", AGENTS)
async def test_keeps_the_contract(name, settings, speech) -> None:
    await check_agent(lambda: resolve("agents", name)(settings), speech)


def test_the_agents_that_come_with_legato_are_found() -> None:
    assert {"assistant", "echo"} <= set(AGENTS)
