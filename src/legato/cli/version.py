"""`legato version`: what is installed."""

import platform

import typer

from legato._version import __version__


def command() -> None:
    """Print the version of legato, of Python and of the system."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    typer.echo(f"legato {__version__} ({python}, {platform.system()} {platform.machine()})")
