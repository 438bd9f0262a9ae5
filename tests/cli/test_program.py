"""The program as a whole: finding commands, one line per mistake, exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import legato.cli
from legato.audio.wav import write_wav
from legato.cli import __main__ as program
from legato.core.errors import ConnectError, SettingsError


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    return subprocess.run(
        [sys.executable, "-m", "legato", *words],
        capture_output=True,
        text=True,
        env=variables | environment | {"COLUMNS": "100"},
        timeout=100,
        check=False,
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a module with the given `command` into the program as `legato probe`."""

    def put(function: Any) -> None:
        module = ModuleType("legato.cli.probe")
        module.command = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "legato.cli.probe", module)
        found = type("Found", (), {"name": "probe", "ispkg": False})
        monkeypatch.setattr(program.pkgutil, "iter_modules", lambda _: [found])

    return put


def raising(error: BaseException) -> Any:
    def command() -> None:
        raise error

    return command


class TestHelp:
    def test_alone_it_prints_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert program.main([]) == 0
        printed = capsys.readouterr().out
        for name in ("serve", "talk", "settings", "version"):
            assert f" {name} " in printed

    def test_every_file_is_a_command_with_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder = Path(legato.cli.__file__).parent
        names = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
        assert {"serve", "settings", "talk", "version"} <= set(names)
        for name in names:
            assert program.main([name.replace("_", "-"), "--help"]) == 0
            assert "Usage: legato " in capsys.readouterr().out


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["srve"], "legato: No such command 'srve'. Did you mean 'serve'? (see legato --help)"),
            (["serve", "--prot", "1"], "legato: No such option: --prot"),
            (["serve", "--port", "x"], "legato: Invalid value for '--port'"),
            (["serve", "--port", "70000"], "legato: listen.port = 70000 (--port) cannot be used"),
            (["serve", "extra"], "legato: Got unexpected extra argument"),
        ],
    )
    def test_of_the_caller_are_one_line_and_code_2(
        self, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
    ) -> None:
        assert program.main(words) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(sentence)
        assert len(printed.err.splitlines()) == 1

    @pytest.mark.parametrize(("error", "code"), [(ConnectError("nobody there"), 1), (SettingsError("no"), 2)])
    def test_known_failures_are_one_line(
        self, capsys: pytest.CaptureFixture[str], command: Any, error: Exception, code: int
    ) -> None:
        command(raising(error))
        assert program.main(["probe"]) == code
        assert capsys.readouterr().err == f"legato: {error}\n"

    def test_unknown_failures_say_what_to_report(
        self, capsys: pytest.CaptureFixture[str], command: Any
    ) -> None:
        command(raising(ZeroDivisionError("by\nzero")))
        assert program.main(["probe"]) == 1
        printed = capsys.readouterr().err
        assert "unexpected ZeroDivisionError: by zero" in printed
        assert "LEGATO_DEBUG=1 legato probe" in printed
        assert "Traceback" not in printed
        assert len(printed.splitlines()) == 1

    def test_tracebacks_are_for_those_who_ask(
        self, capsys: pytest.CaptureFixture[str], command: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command(raising(ConnectError("nobody there")))
        assert program.main(["--debug", "probe"]) == 1
        assert "Traceback" in capsys.readouterr().err
        monkeypatch.setenv("LEGATO_DEBUG", "1")
        assert program.main(["probe"]) == 1
        assert "Traceback" in capsys.readouterr().err

    def test_an_interrupt_is_130_and_silent(self, capsys: pytest.CaptureFixture[str], command: Any) -> None:
        command(raising(KeyboardInterrupt()))
        assert program.main(["probe"]) == 130
        assert capsys.readouterr() == ("", "")

    def test_a_command_chooses_its_code(self, command: Any) -> None:
        command(lambda: 7)
        assert program.main(["probe"]) == 7
        command(raising(typer.Exit(3)))
        assert program.main(["probe"]) == 3


class TestDiscovery:
    def test_a_command_may_have_commands(self, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
        group = typer.Typer()
        group.command("one")(lambda: typer.echo("first"))
        group.command("two")(lambda: typer.echo("second"))
        command(group)
        assert program.main(["probe", "two"]) == 0
        assert capsys.readouterr().out == "second\n"


class TestProcess:
    def test_version(self) -> None:
        done = run("version")
        assert done.returncode == 0
        assert done.stdout.startswith("legato ")

    def test_usage_and_settings_are_code_2(self) -> None:
        assert run("srve").returncode == 2
        done = run("serve", LEGATO_LISTEN__PROT="1")
        assert done.returncode == 2
        assert (
            done.stderr
            == "legato: unknown setting listen.prot (LEGATO_LISTEN__PROT); did you mean listen.port?\n"
        )

    def test_a_reader_that_leaves_is_no_failure_to_talk_about(self) -> None:
        command = f"{sys.executable} -m legato settings --reference | true"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=100, check=False)
        assert done.stderr == ""

    def test_little_is_loaded_before_an_interrupt_is_quiet(self) -> None:
        loaded = "import sys, legato.cli.__main__; print({'msgspec', 'typer'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"

    def test_a_full_disk_is_told_as_one(self) -> None:
        command = f"{sys.executable} -m legato settings --reference > /dev/full"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 1
        assert done.stderr == "legato: cannot write to the output: No space left on device\n"

    @pytest.mark.parametrize(
        ("command", "code"),
        [("talk a.wav --url https://nobody.invalid >&- <&-", 1), ("version <&- >&- 2>&-", 0)],
    )
    def test_what_is_closed_to_it_does_no_harm(self, tmp_path: Path, command: str, code: int) -> None:
        write_wav(tmp_path / "a.wav", bytes(2), 16_000)
        words = ["sh", "-c", f"{sys.executable} -m legato {command}"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code
        assert done.stderr.startswith("legato: cannot find nobody.invalid" if code else "")

    def test_settings_can_be_checked(self, tmp_path: Path) -> None:
        config = tmp_path / "legato.toml"
        config.write_text("[listen]\nport = 5000\n")
        done = run("settings", "--config", str(config))
        assert done.returncode == 0
        assert "port = 5000" in done.stdout
