"""The browser package by itself: its types, its tests, its size. No browser needed."""

import subprocess

import pytest
from tests.interop.browser_client.playing import PACKAGE, package_node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(260)]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["node_modules/typescript/bin/tsc", "--noEmit"], id="types"),
        pytest.param(["node_modules/vitest/vitest.mjs", "run", "--reporter=dot"], id="tests"),
        pytest.param(["build.mjs"], id="bundle within its size"),
    ],
)
def test_the_package(command: list[str]) -> None:
    done = subprocess.run(
        [package_node(), *command], cwd=PACKAGE, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
