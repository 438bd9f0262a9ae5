"""Two places joined by an emulated link, as a fixture: `network("train")`."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from legato.bench import places


@pytest.fixture
def network() -> Iterator[Callable[..., places.Link]]:
    """A function that joins two new places: `network("train", seed=1)`. Call `begin()` to start the story.

    Processes run there by `link.client.command([...])` and `link.server.command([...])`, through
    `legato.bench.processes.child` or `subprocess`. A test is skipped, with one sentence, where the machine or
    the user may not make network namespaces.
    """
    with contextlib.ExitStack() as stack:

        def join(name: str, *, seed: int = 1, wire: places.Wire | None = None) -> places.Link:
            try:
                return stack.enter_context(places.join(name, seed=seed, wire=wire))
            except places.LinkUnavailableError as error:
                pytest.skip(str(error))

        yield join
