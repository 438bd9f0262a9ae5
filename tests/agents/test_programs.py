"""Programs beside the server: started with no Python between fork and exec, and reaped whatever happens."""

import asyncio
import gc
import os
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from legato.agents.stages import programs

_told: list[int] = []


def _tell() -> None:
    for descriptor in _told:
        os.write(descriptor, b"forked")


os.register_at_fork(after_in_child=_tell)


@pytest.fixture
def python_of_a_fork() -> Iterator[Callable[[], bytes]]:
    """What the Python of any forked process has said by now."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    _told.append(writing)

    def said() -> bytes:
        try:
            return os.read(reading, 100)
        except BlockingIOError:
            return b""

    yield said
    _told.remove(writing)
    os.close(reading)
    os.close(writing)


def on_uvloop(work: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 20))


async def run_true() -> None:
    assert await (await programs.start(["true"])).wait() == 0


async def talk() -> None:
    program, reader, writer = await programs.start_with_pipe(["cat"])
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    writer.close()
    assert await program.wait() == 0


@pytest.mark.parametrize("work", [run_true, talk])
def test_no_python_runs_in_the_new_process(
    work: Callable[[], Coroutine[Any, Any, None]], python_of_a_fork: Callable[[], bytes]
) -> None:
    gc.disable()  # in the child, it would wait for threads that are not there
    if (child := os.fork()) == 0:
        os._exit(0)
    gc.enable()
    os.waitpid(child, 0)
    assert python_of_a_fork() == b"forked", "the test would notice"
    on_uvloop(work())
    assert python_of_a_fork() == b""


async def test_a_program_is_given_descriptors() -> None:
    with tempfile.TemporaryFile() as file:
        program = await programs.start(
            ["sh", "-c", f"echo hello >/dev/fd/{file.fileno()}"], pass_fds=[file.fileno()]
        )
        assert await program.wait() == 0
        file.seek(0)
        assert file.read() == b"hello\n"


async def test_a_program_that_runs_can_be_ended() -> None:
    program = await programs.start(["sleep", "100"])
    assert program.status is None
    await program.kill()
    assert program.status == -signal.SIGKILL
    await program.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


@pytest.mark.parametrize("start", [programs.start, programs.start_with_pipe])
async def test_what_is_no_program_cannot_be_started(start: Callable[[list[str]], Any]) -> None:
    with pytest.raises(FileNotFoundError):
        await start(["/there/is/none"])


async def test_whoever_stops_waiting_for_the_start_leaves_nothing_behind(tmp_path: Any) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY)
    starting = asyncio.create_task(programs.start(["sleep", "100"], pass_fds=[writing]))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    os.close(writing)
    assert os.read(reading, 1) == b"", "somebody still holds the other end"
    os.close(reading)
