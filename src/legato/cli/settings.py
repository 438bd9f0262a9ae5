"""`legato settings`: what `legato serve` would run with, checked, and the reference of all settings."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all settings as Markdown instead.")
    ] = False,
) -> None:
    """Check the settings of the server and print them as a TOML file."""
    from legato.server import settings_reference
    from legato.server.settings_sources import load_settings

    text = (
        settings_reference.reference()
        if reference
        else settings_reference.effective(load_settings(config=config))
    )
    typer.echo(text, nl=False)
