"""How the three `*_openai` stages talk to an endpoint: keys, time limits, and failures as `AgentError`.

Owns HTTP; must not know what is asked. Callers are told what went wrong, and the log where: the address of an
endpoint is nobody else's business.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from pydantic import SecretStr

from legato.agents.whole_text import whole
from legato.core.errors import AgentError

__all__ = ["Endpoint"]

log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_LONGEST_COMPLAINT = 300

MOST_BYTES = 1 << 20
"""What is kept of an answer that is read whole, or of a line: an endpoint gone wrong must not fill the
memory."""
_RETRYABLE = {408, 409, 425, 429}


class Endpoint:
    """One base URL, such as http://localhost:8000/v1, with its key and a pool of connections. `role` is what
    callers know it as."""

    def __init__(self, role: str, url: str, key: SecretStr, timeout_s: float) -> None:
        self._role = role
        self._url = url.rstrip("/")
        self._secret = secret = key.get_secret_value()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    @asynccontextmanager
    async def post(self, path: str, **content: Any) -> AsyncIterator[httpx.Response]:
        """POST to `path` (keywords as of httpx: `json`, `data`, `files`); the answer's body is yet to be
        read.

        Raises `AgentError` for an unreachable endpoint, a status that is no success, and a body that breaks
        off while it is read inside the `async with`.
        """
        url = f"{self._url}/{path}"
        try:
            async with self._client.stream("POST", url, **content) as response:
                if not response.is_success:
                    raise self._refusal(url, response.status_code, bytes(await _beginning(response)))
                yield response
        except httpx.TimeoutException as error:
            raise self._failure(url, error, "does not answer in time") from error
        except (httpx.ConnectError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._failure(url, error, "cannot be reached") from error
        except httpx.HTTPError as error:
            raise self._failure(url, error, "broke its answer off") from error
        except RuntimeError as error:  # the client has been closed
            raise AgentError(f"{self._role}: {error}") from error

    async def whole(self, response: httpx.Response) -> bytes:
        """The body of an answer. Raises `AgentError` if it is far too long to be one."""
        body = await _beginning(response)
        if len(body) > MOST_BYTES:
            raise self._too_much()
        return bytes(body)

    async def lines(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        """The lines of an answer as they come. They end at newlines only: a text may hold what Unicode takes
        for the end of one. Raises `AgentError` for one that is far too long."""
        waiting = bytearray()
        async for data in response.aiter_bytes():
            waiting += data
            if b"\n" in data:
                *complete, waiting = waiting.split(b"\n")
                for line in complete:
                    yield line.decode(errors="replace")
            if len(waiting) > MOST_BYTES:
                raise self._too_much()
        yield waiting.decode(errors="replace")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _too_much(self) -> AgentError:
        return AgentError(f"{self._role} answers with more than {MOST_BYTES} bytes at once", retryable=True)

    def _failure(self, url: str, error: Exception, what: str) -> AgentError:
        log.warning("%s: %s", url, error or type(error).__name__)
        return AgentError(f"{self._role} {what}", retryable=True)

    def _refusal(self, url: str, status: int, body: bytes) -> AgentError:
        complaint = body.decode(errors="replace")
        with suppress(ValueError, LookupError, TypeError):
            complaint = whole(str(json.loads(complaint)["error"]["message"]))
        if self._secret:
            complaint = complaint.replace(self._secret, "...")
        complaint = " ".join(complaint.split())[:_LONGEST_COMPLAINT]
        log.warning("%s answers %d: %s", url, status, complaint)
        retryable = status in _RETRYABLE or status >= 500
        return AgentError(f"{self._role} answers {status}: {complaint}", retryable=retryable)


async def _beginning(response: httpx.Response) -> bytearray:
    """A body, or hardly more than `MOST_BYTES` of it."""
    body = bytearray()
    async for data in response.aiter_bytes():
        body += data
        if len(body) > MOST_BYTES:
            break
    return body
