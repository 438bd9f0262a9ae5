"""Break what calls stand on, one line at a time, and see that tests notice.

    python scripts/mutations.py            exit with 1 if a mutant survives

Owns the mutants. Each is made in a copy of the sources; the tree itself is never touched.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CORE = Path("src/legato/core")
TESTS = (
    "test_playout.py",
    "test_heard_truth.py",
    "test_downlink.py",
    "test_on_time.py",
    "test_resumed_calls.py",
    "test_carried_calls.py",
    "test_moved_calls.py",
    "dialects/realtime/test_spoken_text.py",
)
LIMIT_S = 600


class Mutant(NamedTuple):
    """One line of a file, broken on purpose."""

    what: str
    path: str
    line: str
    broken: str


MUTANTS = (
    Mutant(
        "the ledger believes every figure",
        "playout.py",
        "return min(max(value, low), high)",
        "return value",
    ),
    Mutant(
        "a flush is not written into the ledger",
        "downlink_sender.py",
        "self.ledger.flush(1, self.generation, now)",
        "pass",
    ),
    Mutant(
        "what was not heard counts as heard",
        "dialects/realtime/spoken_text.py",
        "samples = min(self._heard if samples is None else samples, self.length)",
        "samples = self.length",
    ),
    Mutant(
        "audio that another server may want is let go of",
        "uplink_sender.py",
        "if self._needed is None or piece.stop <= self._needed:",
        "if True:",
    ),
    Mutant(
        "a client plays what was flushed",
        "downlink_receiver.py",
        "if self._is_stale(generation):",
        "if False:",
    ),
    Mutant(
        "what is too late is handed over",
        "uplink_receiver.py",
        "if not late and offset == self.expected:",
        "if offset == self.expected:",
    ),
)


def killed(mutant: Mutant, place: Path) -> bool:
    """Whether the tests fail with that mutant, in a copy at `place`."""
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__", "page"))
    shutil.copytree(ROOT / "tests" / "core", place / "tests" / "core")
    shutil.copy(ROOT / "tests" / "conftest.py", place / "tests")
    shutil.copy(ROOT / "pyproject.toml", place)
    target = place / CORE / mutant.path
    text = target.read_text(encoding="utf-8")
    if text.count(mutant.line) != 1:
        raise SystemExit(
            f"{mutant.path} has the line of a mutant {text.count(mutant.line)} times: {mutant.line}"
        )
    target.write_text(text.replace(mutant.line, mutant.broken), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(f"tests/core/{name}" for name in TESTS)],
        cwd=place,
        env={"PYTHONPATH": f"{place / 'src'}:{place}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"the tests did not run:\n{done.stdout}{done.stderr}")
    return done.returncode == 1


def main() -> int:
    """Make every mutant; say what became of it."""
    survivors = 0
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory() as place:
            dead = killed(mutant, Path(place))
        survivors += not dead
        print(f"  {'killed  ' if dead else 'SURVIVES'}  {mutant.what}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants were noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
