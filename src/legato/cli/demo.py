"""`legato demo`: a conversation of three turns and an interruption, held and explained. Owns the flags."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    output: Annotated[Path, typer.Option(help="Where the replies go, as WAV files.")] = Path("demo-output"),
) -> int:
    """Start a server, ask it spoken questions over QUIC, and show what came of each.

    The questions are spoken by flite and the answers come from the built-in assistant: no key, no download,
    no sound card. Exit code 1 if a question got no answer.
    """
    import asyncio

    from legato.bench.processes import end_when_terminated
    from legato.cli.showing.demonstration import demonstrate

    end_when_terminated()
    output.mkdir(parents=True, exist_ok=True)
    return 0 if asyncio.run(demonstrate(output)) else 1
