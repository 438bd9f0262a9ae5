"""The core imports neither clocks, randomness, sockets, threads nor an event loop."""

import subprocess
import sys
from pathlib import Path

import legato.core

EVENT_LOOPS = ["asyncio", "select", "selectors", "concurrent", "multiprocessing"]
NETWORK = ["socket", "ssl"]
THREADS = ["threading", "_thread"]
CLOCKS_AND_CHANCE = ["time", "random", "secrets"]
FORBIDDEN = EVENT_LOOPS + NETWORK + THREADS + CLOCKS_AND_CHANCE

SCRIPT = f"""
import sys, types, enum, abc, heapq, collections.abc, struct, typing, msgspec, importlib, pkgutil
package = types.ModuleType("legato")
package.__path__ = [sys.argv[1]]
sys.modules["legato"] = package
for name in {FORBIDDEN!r}:
    sys.modules[name] = None
import legato.core
for module in pkgutil.walk_packages(legato.core.__path__, "legato.core."):
    importlib.import_module(module.name)
print(sum(name.startswith("legato.core") for name in sys.modules))
print(*(name for name in sys.modules if name.startswith("legato.") and not name.startswith("legato.core")))
for name in {FORBIDDEN!r}:
    del sys.modules[name]
"""


def test_core_imports_without_the_world() -> None:
    source = Path(legato.core.__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source.parent)], capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    count, *others = ran.stdout.split()
    assert int(count) == len(list(source.rglob("*.py")))
    assert others == []
