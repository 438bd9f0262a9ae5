"""What holds for every test.

Properties are tried with the same examples each time, so that a run says something about the change before
it; `HYPOTHESIS_PROFILE=slow` searches much longer, and elsewhere each time.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", PATIENT, max_examples=60, derandomize=True)
settings.register_profile("slow", PATIENT, max_examples=3_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(autouse=True)
def _logging_as_at_first() -> Iterator[None]:
    """A program that a test runs in its own process may configure the log; the next sees nothing of it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that wait longest, so that neither process of `make test` is left alone with one.

    The longest is what the documents say, then what browsers do, then what else takes more than a second.
    """

    def waits(item: pytest.Item) -> int:
        if item.path.name == "test_documents.py":
            return 0
        marks = {mark.name for mark in item.iter_markers()}
        return 1 if "browser" in marks else 2 if "slow" in marks else 3

    file_waits: dict[Path, int] = {}
    for item in items:
        file_waits[item.path] = min(waits(item), file_waits.get(item.path, 3))
    items.sort(key=lambda item: file_waits[item.path])
