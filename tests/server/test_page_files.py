"""The page and its files, as a browser gets them."""

from pathlib import Path

import httpx
import pytest

from legato.server.http import Description, make_app
from legato.server.page_files import page_routes

DESCRIPTION = Description(server_version="1.2.3", protocol_versions=(1,), path="/legato/v1")
SCRIPT = "console.log('legato');\n" * 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A built page."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>legato</title>")
    (tmp_path / "assets" / "app-1A2B.js").write_text(SCRIPT)
    (tmp_path / "assets" / "letters-3C4D.woff2").write_bytes(b"wOF2")
    (tmp_path / "private.txt").write_text("private")
    return tmp_path


def asking(folder: Path) -> httpx.AsyncClient:
    app = make_app(lambda: DESCRIPTION, lambda: None, page_routes(folder))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://localhost:4433")


async def test_the_document_is_asked_for_each_time_and_runs_only_what_is_ours(folder: Path) -> None:
    answer = await asking(folder).get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["permissions-policy"].startswith("microphone=(self)")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("app-1A2B.js", "text/javascript; charset=utf-8"), ("letters-3C4D.woff2", "font/woff2")],
)
async def test_files_are_kept_for_ever_and_have_their_type(folder: Path, name: str, media_type: str) -> None:
    answer = await asking(folder).get(f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert "immutable" in answer.headers["cache-control"]
    assert answer.content == (folder / "assets" / name).read_bytes()


async def test_a_worker_may_call_the_server_and_nobody_else(folder: Path) -> None:
    answer = await asking(folder).get("/assets/app-1A2B.js")
    assert answer.headers["content-security-policy"] == "default-src 'none'; connect-src 'self'"


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("br, gzip", "gzip"), ("gzip;q=0", None), ("identity", None), ("", None)]
)
async def test_text_is_packed_for_those_who_take_it(
    folder: Path, accepted: str, encoding: str | None
) -> None:
    answer = await asking(folder).get("/assets/app-1A2B.js", headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.text == SCRIPT


async def test_the_head_of_an_answer_says_how_long_it_would_be(folder: Path) -> None:
    answer = await asking(folder).head("/assets/letters-3C4D.woff2")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "4", b"")


@pytest.mark.parametrize(
    "path",
    ["/assets/other.js", "/assets/", "/assets/../private.txt", "/assets/%2e%2e/private.txt", "/private.txt"],
)
async def test_there_is_nothing_else(folder: Path, path: str) -> None:
    answer = await asking(folder).get(path)
    assert answer.status_code == 404
    assert "private" not in answer.json()["error"]


async def test_without_a_build_the_page_says_what_to_do(tmp_path: Path) -> None:
    answer = await asking(tmp_path).get("/")
    assert answer.status_code == 200
    assert "make setup" in answer.text
    assert "legato talk" in answer.text
