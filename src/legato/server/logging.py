"""How the server's log looks: lines for people, JSON for machines, never a secret and never audio.

Owns the format and what may not get into it; must not know what is logged. Everything goes to standard error:
our own events, which name a happening and carry fields (`call` and `remote` wherever there is one),
and the records of libraries that use the standard `logging`.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor

from legato._settings import Log

HIDDEN = "**********"
"""What stands in the log where a secret would."""

_SECRET_FIELD = re.compile(
    r"(^|_)(token|ticket|secret|password|passphrase|authorization|api_key|key)$", re.IGNORECASE
)

_TOKEN = re.compile(r"\b(ek_|lg_)[A-Za-z0-9_-]{12,}")
"""API keys and client secrets, wherever they stand."""

_QUIET = (
    *("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "asyncio"),
    "legato.transports",
)
"""Libraries that narrate, one of them under names of our transports: only their warnings are worth a line."""


def configure_logging(settings: Log, stream: TextIO | None = None) -> None:
    """Send this process's logging to `stream` (standard error) as `settings` say; may be called again."""
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        presentable,
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(settings, out),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def presentable(_: Any, __: str, event: EventDict) -> MutableMapping[str, Any]:
    """Make every field safe to show: secrets hidden, bytes counted, control characters of a peer escaped."""
    return {name: _presentable(name, value) for name, value in event.items()}


def _presentable(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if not name.startswith("_") and value is not None and _SECRET_FIELD.search(name):
        return HIDDEN
    if isinstance(value, str):
        shown = _TOKEN.sub(rf"\1{HIDDEN}", value)
        return shown if shown.isprintable() else "".join(map(_printable, shown))
    if isinstance(value, dict) and not name.startswith("_"):
        return {key: _presentable(str(key), inner) for key, inner in value.items()}
    return value


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _rendering(settings: Log, out: TextIO) -> list[Processor]:
    terminal = out.isatty()
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        # Plain tracebacks: the structured ones carry local variables, and with them secrets and audio.
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [
        structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback),
    ]
