"""A room for a browser: a loudspeaker that can be recorded, a microphone into which WAV files are played.

Owns a sound server of its own. Must not know browsers or pages.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ECHO = (
    "module-loopback source=loudspeaker.monitor sink=mouth latency_msec=40"
    " source_dont_move=true sink_dont_move=true"
)
"""What the loudspeaker gives reaches the microphone 40 ms later, as in a small room."""

MODULES = (
    "module-native-protocol-unix auth-anonymous=1",
    "module-null-sink sink_name=loudspeaker rate=48000",
    "module-null-sink sink_name=mouth rate=48000",
    # Browsers list no monitors among their microphones.
    "module-remap-source source_name=microphone master=mouth.monitor",
)


def needed(name: str) -> str:
    """A program of the sound server."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: run scripts/setup (or: apt-get install pulseaudio pulseaudio-utils)")
    return path


@contextmanager
def room(folder: Path, *more: str) -> Iterator[dict[str, str]]:
    """The environment in which programs hear and sound in this room; `folder` is its own."""
    folder.mkdir()
    own = os.environ | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    loads = [word for module in (*MODULES, *more) for word in ("-L", module)]
    command = [
        needed("pulseaudio"),
        "-n",
        "--daemonize=yes",
        "--exit-idle-time=-1",
        "--log-level=error",
        *loads,
    ]
    # The command returns when the daemon is ready.
    subprocess.run(command, env=own, check=True, timeout=20, stderr=subprocess.DEVNULL)
    try:
        yield {
            "PULSE_SERVER": f"unix:{folder / 'pulse' / 'native'}",
            "PULSE_SINK": "loudspeaker",
            "PULSE_SOURCE": "microphone",
        }
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((folder / "pulse" / "pid").read_text()), signal.SIGTERM)
