"""The `legato` program: finds its commands and turns what they raise into one line and an exit code.

A plain module of this folder is a command of the same name. It has either a function `command`, whose
signature is its command line (Typer), or a `typer.Typer` of that name, for a command that has commands of its
own. Modules whose name starts with an underscore, and packages, are no commands. Commands import heavy things
when they run, not when they are found.

Exit codes: 0 done, 1 it failed, 2 it was asked wrongly (usage, settings), 130 interrupted.
"""

import errno
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import legato.cli

if TYPE_CHECKING:
    import typer

DEBUG_VARIABLE = "LEGATO_DEBUG"
"""Set to anything, it does what `--debug` does."""

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says where nothing more can be written, to a file or to where our output goes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with `arguments` (those of the process by default) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = bool(os.environ.get(DEBUG_VARIABLE)) or "--debug" in words[:1]
    _take_closed_descriptors()
    try:
        outcome = _run(words)
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output went away, as `head` does: end quietly.
            return _write_no_more()
        return _explain(error, words, debug)
    except KeyboardInterrupt:
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def application() -> "typer.Typer":
    """The Typer application with every command that is found."""
    # Imported late, as all that takes time: an interrupt meanwhile must be as quiet as any other.
    import typer

    def options(
        context: typer.Context,
        debug: Annotated[
            bool, typer.Option("--debug", help=f"Show tracebacks; the same as {DEBUG_VARIABLE}=1.")
        ] = False,
    ) -> None:
        """Voice AI over QUIC: a voice server, a client to talk to it, and measurements that prove them."""
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(options)
    for module in pkgutil.iter_modules(legato.cli.__path__):
        if module.ispkg or module.name.startswith("_"):
            continue
        command = importlib.import_module(f"legato.cli.{module.name}").command
        name = module.name.replace("_", "-")
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _run(words: list[str]) -> object:
    from typer.main import get_command

    return get_command(application()).main(args=words, prog_name="legato", standalone_mode=False)


def _explain(error: Exception, words: list[str], debug: bool) -> int:
    """Say in one line what went wrong, and on `debug` where."""
    from typer.exceptions import TyperException

    from legato.core.errors import LegatoError, SettingsError

    if isinstance(error, TyperException):
        path = getattr(getattr(error, "ctx", None), "command_path", "legato")
        _say(f"{' '.join(error.format_message().split())} (see {path} --help)")
        return MISUSED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, LegatoError):
        _say(str(error))
        return MISUSED if isinstance(error, SettingsError) else FAILED
    if isinstance(error, OSError) and error.errno in _FULL:
        place = error.filename if isinstance(error.filename, str) else "the output"
        _say(f"cannot write to {place}: {error.strerror}")
        return _write_no_more()
    shown = " ".join(f"{type(error).__name__}: {error}".split())
    again = f"{DEBUG_VARIABLE}=1 legato {' '.join(words)}"
    _say(f"unexpected {shown}. This is a mistake in legato; please report it with what `{again}` prints")
    return FAILED


def _say(sentence: str) -> None:
    print(f"legato: {sentence}", file=sys.stderr)


def _write_no_more() -> int:
    """Leave nothing that would be flushed, and fail, at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _take_closed_descriptors() -> None:
    """Open what was closed to us, as by `legato serve <&-`, to nowhere.

    Otherwise the next thing that is opened takes its number, and the event loop ends the process over that.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is the one that is missing.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    sys.exit(main())
