"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_at_first() -> Iterator[None]:
    """A program that a test runs in its own process may configure the log; the next sees nothing of it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
