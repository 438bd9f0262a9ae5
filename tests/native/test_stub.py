"""The stub tells the truth about the extension module."""

import subprocess
import sys


def test_the_stub_matches_the_module():
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "legato._native",
        "--mypy-config-file",
        "pyproject.toml",
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
