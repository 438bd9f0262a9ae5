"""What reaches the log: the format, the fields, and neither secrets nor audio nor a peer's escapes."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from legato._settings import Log
from legato.server.logging import HIDDEN, configure_logging
from legato.transports import websocket_client, websocket_upgrade
from legato.trust import new_api_key


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_machines_get_one_object_per_line() -> None:
    out = io.StringIO()
    configure_logging(Log(), out)
    structlog.get_logger().bind(call="c1", remote="192.0.2.1:5000").info("call started", agent="echo")
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "call started",
        "level": "info",
        "remote": "192.0.2.1:5000",
        "call": "c1",
        "agent": "echo",
    }


def test_people_get_text_and_colour_only_on_a_terminal() -> None:
    for out, colour in ((Terminal(), True), (io.StringIO(), False)):
        configure_logging(Log(format="console"), out)
        structlog.get_logger().warning("hello late")
        assert "hello late" in out.getvalue()
        assert ("\x1b[" in out.getvalue()) is colour


def test_auto_looks_at_the_terminal() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure_logging(Log(), terminal)
    structlog.get_logger().info("up")
    configure_logging(Log(), pipe)
    structlog.get_logger().info("up")
    assert not terminal.getvalue().startswith("{")
    assert lines(pipe)[0]["event"] == "up"


def test_the_level_counts_for_us_and_for_libraries() -> None:
    out = io.StringIO()
    configure_logging(Log(level="warning"), out)
    structlog.get_logger().info("not this")
    logging.getLogger("library").info("nor this")
    structlog.get_logger().warning("this")
    logging.getLogger("library").warning("and %s", "this")
    assert [line["event"] for line in lines(out)] == ["this", "and this"]
    assert lines(out)[1]["logger"] == "library"


def test_narrating_libraries_are_quiet_even_when_we_debug() -> None:
    out = io.StringIO()
    configure_logging(Log(level="debug"), out)
    for name in ("uvicorn.error", "httpx", "asyncio", websocket_client.__name__, websocket_upgrade.__name__):
        logging.getLogger(name).info("Started server process")
    assert out.getvalue() == ""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_and_audio_stay_out(log_format: str) -> None:
    out = io.StringIO()
    configure_logging(Log.model_validate({"format": log_format}), out)
    structlog.get_logger().info(
        "settings",
        stt_key="sk-1",
        resume_ticket="sk-2",
        authorization="sk-3",
        quoted=SecretStr("sk-4"),
        nested={"token": "sk-5", "audio": b"sk-6"},
        payload=b"sk-7",
        view=memoryview(b"sk-8"),
        monkey="seen",
    )
    assert "sk-" not in out.getvalue()
    assert HIDDEN in out.getvalue()
    assert "<4 bytes>" in out.getvalue()
    assert "seen" in out.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_keys_and_client_secrets_are_hidden_wherever_they_stand(log_format: str) -> None:
    out = io.StringIO()
    configure_logging(Log.model_validate({"format": log_format}), out)
    key = new_api_key()
    secret = f"ek_{'A' * 40}-{'b' * 40}"
    structlog.get_logger().warning(f"got {key}", reason=f"Bearer {secret}", nested={"line": f"x={key}\n"})
    logging.getLogger("library").warning("> authorization: Bearer %s", secret)
    assert key[7:20] not in out.getvalue()
    assert secret[7:20] not in out.getvalue()
    assert out.getvalue().count(HIDDEN) == 4
    structlog.get_logger().warning("the API key lg_abcd... is not known here")
    assert "lg_abcd..." in out.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_peer_cannot_draw_on_the_terminal(log_format: str) -> None:
    out = io.StringIO()
    configure_logging(Log.model_validate({"format": log_format}), out)
    structlog.get_logger().info("closed", reason="bye\x1b[2J\n{forged}")
    logging.getLogger("library").warning("got \x1b[31m")
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 2


def test_exceptions_show_no_local_variables() -> None:
    for log_format in ("json", "console"):
        out = io.StringIO()
        configure_logging(Log.model_validate({"format": log_format}), out)
        private = "sk-1"
        try:
            raise ValueError(len(private))
        except ValueError:
            structlog.get_logger().exception("failed")
        assert "ValueError: 4" in out.getvalue()
        assert "sk-1" not in out.getvalue().replace('private = "sk-1"', "")
