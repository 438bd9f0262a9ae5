"""The page by itself: its types, its tests, its size. No browser needed."""

import subprocess
from pathlib import Path

import pytest
from tests.interop.driving import node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[3] / "clients" / "page"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["node_modules/typescript/bin/tsc", "--noEmit"], id="types"),
        pytest.param(["node_modules/vitest/vitest.mjs", "run", "--reporter=dot"], id="tests"),
    ],
)
def test_the_page(command: list[str]) -> None:
    done = subprocess.run(
        [node(PAGE), *command], cwd=PAGE, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_a_build_within_its_size_has_everything_that_the_document_names(tmp_path: Path) -> None:
    built = tmp_path / "page"
    done = subprocess.run(
        [node(PAGE), "build.mjs", str(built)],
        cwd=PAGE,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = (built / "index.html").read_text()
    named = [word for word in document.split('"') if word.startswith("/assets/")]
    assert len(named) == 3
    assert all((built / name.lstrip("/")).is_file() for name in named)
    assert "{{" not in document
    assert "undefined" not in document
    assert len(list(built.glob("LICENSE-*"))) == 2
    assert not list(tmp_path.glob("page.new-*"))
