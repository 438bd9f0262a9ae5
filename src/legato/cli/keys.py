"""`legato keys`: the secrets that a fleet shares. Owns what is printed; must not know what keys are for."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato.core.errors import SettingsError

if TYPE_CHECKING:
    from legato.fleet_keys import FleetKeys

command = typer.Typer(no_args_is_help=True, help="The secrets that servers and balancers of a fleet share.")

FilePath = Annotated[Path, typer.Argument(metavar="FILE", help="The file with the keys.")]

_STEPS = {
    "current": "One generation is in use, and nothing else is accepted.",
    "next": "The next generation is announced: everybody accepts it once this file is everywhere, and nobody"
    " uses it yet.",
    "previous": "The new generation is in use, and the one before is still accepted.",
}
_AFTER = {
    "current": "`legato keys rotate` announces the next generation when you want one.",
    "next": "Bring this file to every balancer and server; then `legato keys rotate` again to use it.",
    "previous": "Bring this file to every server and balancer; when no balancer counts packets of the former"
    " codepoint any more, `legato keys rotate` again to drop it.",
}


@command.command()
def new(file: FilePath) -> None:
    """Make the secrets of a new fleet and write them to FILE, readable by you alone."""
    import os

    from legato.fleet_keys import FleetKeys

    keys = FleetKeys.new()
    begun = False
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        begun = True
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(keys.dump())
    except FileExistsError:
        raise SettingsError(f"{file} exists, and its keys may be in use: choose another name") from None
    except OSError as error:
        if begun:
            file.unlink()
        raise SettingsError(f"cannot write the fleet's keys to {file}: {error.strerror}") from None
    typer.echo(f"{file}: generation 1, fingerprint {keys.fingerprint}")
    typer.echo("Copy it to every server and balancer of the fleet, and to nobody else.")


@command.command()
def rotate(file: FilePath) -> None:
    """Do the next step of a rotation: announce a generation, use it, drop the former one."""
    from legato.fleet_keys import FleetKeys
    from legato.server.state_files import write_atomically

    keys = FleetKeys.load(file).rotated()
    try:
        write_atomically(file, keys.dump(), 0o600)
    except OSError as error:
        raise SettingsError(f"cannot write the fleet's keys to {file}: {error.strerror}") from None
    _tell(keys)


@command.command()
def show(
    file: FilePath,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    quic_lb: Annotated[
        bool,
        typer.Option("--quic-lb", help="Show the QUIC-LB keys, which other makes of balancers need, too."),
    ] = False,
) -> None:
    """Say which generations FILE holds and how far their rotation is. Shows no secret unless asked to."""
    from legato.fleet_keys import FleetKeys

    keys = FleetKeys.load(file)
    if not as_json:
        _tell(keys, quic_lb=quic_lb)
        return
    generations = [
        {
            "generation": each.number,
            "stage": each.stage,
            "codepoint": each.codepoint,
            "fingerprint": each.fingerprint,
        }
        | ({"quic_lb_key": each.quic_lb_key.hex()} if quic_lb else {})
        for each in keys.generations
    ]
    typer.echo(json.dumps({"fingerprint": keys.fingerprint, "generations": generations}))


def _tell(keys: "FleetKeys", *, quic_lb: bool = False) -> None:
    typer.echo(f"fingerprint {keys.fingerprint}")
    for each in keys.generations:
        secret = f", QUIC-LB key {each.quic_lb_key.hex()}" if quic_lb else ""
        typer.echo(f"generation {each.number}: {each.stage}, codepoint {each.codepoint}{secret}")
    stage = keys.generations[-1].stage
    typer.echo(f"{_STEPS[stage]} {_AFTER[stage]}")
