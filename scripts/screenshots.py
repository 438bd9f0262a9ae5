"""Photograph the page of a server in the moments of a call: `make screenshots`.

Owns where the pictures go and what is said in front of the microphone. How they are taken is the business of
tests/interop/page. Needs what `make setup` installs, and no sound card.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.interop.driving import node, program  # noqa: E402
from tests.interop.page.room import needed, room  # noqa: E402

from legato.bench.processes import FIRST, child, free_port, module, wait_for_port  # noqa: E402

FOLDER = ROOT / "docs" / "images"
PAGE = ROOT / "tests" / "interop" / "page"
SAID = {
    "first": "what is nine times four",
    "story": "tell me a long story",
    "question": "what is seven plus five",
}
LIMIT_SECONDS = 150


def main() -> int:
    """Take the pictures; 1 if that failed."""
    # Before other work of the machine, where the system allows that: sound has deadlines.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    FOLDER.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="legato-screenshots-", ignore_cleanup_errors=True) as name:
        private = Path(name)
        parameters = {"url": f"https://localhost:{port}/", "folder": str(FOLDER)}
        for key, words in SAID.items():
            file = private / f"{key}.wav"
            subprocess.run([needed("flite"), "-voice", "rms", "-t", words, "-o", file], check=True)
            parameters[key] = str(file)
        command = module("legato", "serve", "--port", str(port), "--drain-seconds", "0")
        with (
            room(private / "room") as sound,
            child("the server", command, XDG_STATE_HOME=str(private)) as server,
        ):
            wait_for_port(server, port)
            browser = node(PAGE.parent / "browsers")
            taking = [browser, PAGE / "screenshots.mjs", program("chromium"), json.dumps(parameters)]
            done = subprocess.run(taking, env=os.environ | sound, timeout=LIMIT_SECONDS, check=False)
    for picture in sorted(FOLDER.glob("page-*.png")):
        print(f"{picture.relative_to(ROOT)}  {picture.stat().st_size / 1000:.0f} kB")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
