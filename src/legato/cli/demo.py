"""`legato demo`: a conversation with an interruption, and a call whose network dies. Owns the flags."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    output: Annotated[Path, typer.Option(help="Where the replies go, as WAV files.")] = Path("demo-output"),
    stay: Annotated[
        bool | None,
        typer.Option(
            help="Keep the server for its page until Ctrl-C; by default if this is a terminal.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Start a server, ask it spoken questions over QUIC, and show what came of each.

    The questions are spoken by flite and the answers come from the built-in assistant: no key, no download,
    no sound card. Exit code 1 if a question got no answer. The address of the server's page is printed first.
    """
    import asyncio
    import sys

    from legato.bench.processes import end_when_terminated
    from legato.cli.showing.demonstration import demonstrate
    from legato.core.errors import SettingsError

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output {output} cannot be made a directory: {error.strerror}") from None
    end_when_terminated()
    stays = sys.stdin.isatty() and sys.stdout.isatty() if stay is None else stay
    return 0 if asyncio.run(demonstrate(output, stays=stays)) else 1
