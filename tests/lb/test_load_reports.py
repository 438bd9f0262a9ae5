"""What servers say of their load, and how they are asked."""

import asyncio
import contextlib
import gzip
from pathlib import Path

import pytest
from tests.lb.fleets import at

from legato.core.errors import SettingsError
from legato.lb.load_reports import MAX_OCTETS, LoadReports, read_report
from legato.lb.servers import Address
from legato.lb.settings import HealthSettings
from legato.lb.weights import Load

REPORT = b'{"calls": 3,"capacity": 9}'


@pytest.mark.parametrize(
    ("status", "body", "report"),
    [
        (200, b'{"status": "ready", "calls": 3, "capacity": 10}', Load(calls=3, capacity=10)),
        (200, b'{"status": "ready"}', None),
        (200, b'{"calls": -1, "capacity": 10}', None),
        (200, b'{"calls": true, "capacity": 10}', None),
        (200, b'{"calls": 1e99, "capacity": 10}', None),
        (200, b"[]", None),
        (200, b"[" * MAX_OCTETS, None),
        (200, b"ready", None),
        (404, b'{"calls": 3, "capacity": 10}', None),
        (
            503,
            b'{"reason": "draining", "calls": 3, "capacity": 10}',
            Load(calls=3, capacity=10, draining=True),
        ),
        (503, b'{"reason": "stopped"}', Load(calls=0, capacity=0, draining=True)),
        (503, b'{"reason": "overloaded", "calls": 10, "capacity": 10}', Load(calls=10, capacity=10)),
        (503, b'{"reason": "overloaded", "calls": 0, "capacity": 10}', Load(calls=10, capacity=10)),
    ],
)
def test_an_answer_is_read(status: int, body: bytes, report: Load | None) -> None:
    assert read_report(status, body) == report


def test_who_is_asked_where() -> None:
    reports = LoadReports(HealthSettings(load_url="https://{host}:4433/readyz"), lambda *_: None)
    assert reports.url(("192.0.2.1", 4434), None) == "https://192.0.2.1:4433/readyz"
    assert reports.url(("2001:db8::1", 4434), None) == "https://[2001:db8::1]:4433/readyz"
    assert reports.url(("192.0.2.1", 4434), "http://other/") == "http://other/"
    assert LoadReports(HealthSettings(), lambda *_: None).url(("192.0.2.1", 4434), None) is None


def test_a_file_that_holds_no_certificates_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("none")
    with pytest.raises(SettingsError, match="load_ca_file"):
        LoadReports(HealthSettings(load_ca_file=tmp_path / "ca"), lambda *_: None)


async def test_one_server_that_answers_badly_keeps_nobody_from_being_asked() -> None:
    answers = {
        "/good": b"HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n" + REPORT,
        "/endless": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_OCTETS * 4),
        "/noise": b"\x00\x01",
        "/deep": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * MAX_OCTETS,
        # Nobody asked for it, and unpacked it may be of any size.
        "/packed": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(REPORT),
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[head.split(b" ")[1].decode()])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    told: asyncio.Queue[tuple[Address, Load]] = asyncio.Queue()
    settings = HealthSettings(load_seconds=0.01)
    reports = LoadReports(settings, lambda address, load: told.put_nowait((address, load)))
    asked = [
        (at(1), f"{base}/noise"),
        (at(2), f"{base}/endless"),
        (at(3), "http://127.0.0.1:1/"),
        (at(4), "no url at all"),
        (at(5), f"{base}/good"),
        (at(6), None),
        (at(7), f"{base}/deep"),
        (at(8), f"{base}/packed"),
    ]
    running = asyncio.create_task(reports.run(lambda: asked))
    async with asyncio.timeout(20):
        for _ in range(2):
            assert await told.get() == (at(5), Load(calls=3, capacity=9))
    running.cancel()
    await asyncio.wait([running])
    server.close()
    await server.wait_closed()
