"""`legato netem`: run programs over a bad network. Owns the flags and the account at the end."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def command(  # noqa: PLR0913 - one parameter per flag
    network: Annotated[
        str | None, typer.Argument(help="A network's name, or a file that ends in .toml; none: list them.")
    ] = None,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Runs in the client's place.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="A command line that runs in the server's place.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Wait until the server listens at this port, TCP or UDP."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every loss and delay.")] = 1,
    wire: Annotated[
        Literal["tun", "veth"] | None, typer.Option(help="tun or veth; by default what this user may use.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what became of the packets here, as JSON.")
    ] = None,
) -> int:
    """Run a command in a place whose only way to a server's place is an emulated link.

    The command finds the server at $NETEM_SERVER (10.77.0.1) and $NETEM_SERVER6 (fd77::1). It needs Linux,
    but neither root nor a container. The exit code is the command's.
    """
    from legato.bench import places
    from legato.bench.processes import end_when_terminated
    from legato.core.errors import SettingsError

    if network is None:
        for known in places.networks():
            typer.echo(f"{known['name']:14}{known['about']}")
        return 0
    if not words:
        raise SettingsError("no command: legato netem NETWORK -- COMMAND...")
    end_when_terminated()
    with places.join(network, seed=seed, wire=wire) as link:
        print(f"{link.network}: {link.about} ({link.wire})", file=sys.stderr)
        code = places.run(link, words, server=server, port=port)
    if report is not None:
        report.write_text(json.dumps(link.statistics) + "\n")
    for direction in ("up", "down"):
        print(f"  {direction:5}{_account(link.statistics[direction])}", file=sys.stderr)
    return code


def _account(seen: dict[str, int]) -> str:
    """What became of one direction's packets, in one line; what did not happen is left out."""
    causes = ("lost", "lost_in_burst", "queue_full", "blackout", "misaddressed", "duplicated", "reordered")
    parts = [f"{seen[cause]} {cause.replace('_', ' ')}" for cause in causes if seen[cause]]
    return ", ".join([f"{seen['packets']} packets, {seen['delivered']} delivered", *parts])
