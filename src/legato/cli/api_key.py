"""`legato api-key`: the keys that callers need. Owns what is printed, and stores no key it made."""

import json
from typing import Annotated

import typer

from legato.core.errors import SettingsError

command = typer.Typer(no_args_is_help=True, help="The API keys that callers of a server need.")


@command.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; the log and the limits use this name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Make an API key: print it, this once, and the lines that make a server accept it.

    The server's settings hold only a hash of it.
    """
    from pydantic import ValidationError

    from legato.server.auth_settings import ApiKey, hash_of_key
    from legato.trust import new_api_key

    key = new_api_key()
    try:
        entry = ApiKey(name=name, hash=hash_of_key(key))
    except ValidationError:
        raise SettingsError(
            f"{name!r} cannot be the name of a key: up to 64 letters, digits, dots, dashes and underscores"
        ) from None
    if as_json:
        typer.echo(json.dumps({"key": key, "name": entry.name, "hash": entry.hash}))
        return
    typer.echo(
        f"{key}\n\n"
        "This is the only time it is shown. To accept it, add to the settings file of the server:\n\n"
        f'[[auth.keys]]\nname = "{entry.name}"\nhash = "{entry.hash}"'
    )


@command.command()
def development() -> None:
    """Print the development key: the one a server of yours accepts that has no keys in its settings.

    `legato talk` and `legato.connect` find it by themselves; other programs of yours may be given it.
    """
    from legato.server.development_key import keep_development_key

    typer.echo(keep_development_key())
