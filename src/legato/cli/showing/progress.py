"""How far a long command has come, on the terminal. Owns the line; must not know what is being done.

Everything goes to standard error: what is printed at the end may be read by a machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["progress"]


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """Give a function that takes what is being done and the share that is done, 0 to 1.

    On a terminal that is a bar; elsewhere a line is written whenever something else is being done.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        said: list[str] = []

        def write(what: str, share: float) -> None:
            if said[-1:] != [what]:
                said.append(what)
                console.print(f"{100 * share:3.0f} %  {what}", highlight=False)

        yield write
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
