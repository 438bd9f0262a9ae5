"""`legato netem`: the command's exit code, what it says, what it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from legato.bench import places

LEGATO = str(Path(sys.executable).with_name("legato"))
ROOT = Path(__file__).parent.parent.parent
NETWORKS = sorted(path.stem for path in (ROOT / "bench" / "networks").glob("*.toml"))

pytestmark = pytest.mark.slow


def netem(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([LEGATO, "netem", *words], capture_output=True, text=True, timeout=100)


@pytest.fixture(autouse=True)
def _needs_places() -> None:
    try:
        with places.join("clean"):
            pass
    except places.LinkUnavailableError as error:
        pytest.skip(str(error))


def test_it_lists_every_network() -> None:
    done = netem()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == NETWORKS


def test_a_client_meets_the_server_and_the_report_says_how(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    server = f"{sys.executable} -m http.server 8000 --directory {tmp_path}"
    fetch = (
        "import os, urllib.request as u;"
        "print(u.urlopen('http://' + os.environ['NETEM_SERVER'] + ':8000/hello.txt').read().decode())"
    )
    report = tmp_path / "report.json"
    flags = ["--server", server, "--port", "8000", "--report", str(report)]
    done = netem("clean", *flags, "--", sys.executable, "-c", fetch)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n"
    assert "clean: A good line" in done.stderr
    seen = json.loads(report.read_text())
    # The handshake, the question and the answer at least.
    assert seen["up"]["delivered"] >= 3
    assert seen["down"]["delivered"] >= 2


def test_the_exit_code_is_the_commands() -> None:
    assert netem("clean", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7


def test_a_server_that_ends_early_is_one_sentence() -> None:
    done = netem("clean", "--server", "false", "--port", "9", "--", "true")
    assert done.returncode == 1
    assert "legato: the server ended early, with exit code 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clean"], "no command: legato netem NETWORK -- COMMAND..."),
        (["nowhere", "--", "true"], 'there is no network "nowhere"'),
        (["clean", "--seed", "x", "--", "true"], "Invalid value for '--seed'"),
        (["clean", "--wire", "udp", "--", "true"], "Invalid value for '--wire'"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(words: list[str], said: str) -> None:
    done = netem(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
