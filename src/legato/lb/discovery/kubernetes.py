"""Servers from the EndpointSlices of a Kubernetes service (discovery.k8s.io/v1): list once, then watch.

Owns the two requests and what becomes of their failures. Must not know what a slice means
(`endpoint_slices`). Only GETs on one kind of object in one namespace are needed: httpx is client enough.

A watch ends by itself now and then and goes on where it ended; if the API has forgotten that place ("410
Gone"), everything is listed anew. An API that stalls, is slow or is away changes nothing: what was known
stays.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

from legato.core.errors import SettingsError
from legato.lb.discovery.base import Discovery, Pause, Retrying
from legato.lb.discovery_settings import DiscoverySettings, KubernetesSource
from legato.lb.endpoint_slices import Slices
from legato.lb.servers import Snapshot, is_web_url

__all__ = ["KubernetesDiscovery", "build"]

MAX_LIST_OCTETS = 64 << 20
MAX_EVENT_OCTETS = 4 << 20
"""More than etcd stores of one object. What is longer is no answer of the API."""

PATIENCE_S = 10.0
"""How long the API may take to answer, or to end a watch that is over."""

GONE = 410


def build(settings: DiscoverySettings) -> Discovery:
    """The source that `[discovery.kubernetes]` describes."""
    source = settings.kubernetes
    if source.service is None:
        raise SettingsError("discovery.kubernetes.service is missing: which service are the servers in?")
    namespace = source.namespace or _text(source.namespace_file, "discovery.kubernetes.namespace")
    return KubernetesDiscovery(source, _api_url(source), namespace)


class _RefusedError(Exception):
    """The API did not do what it was asked; the text says why."""


class _ForgottenError(Exception):
    """The API does not remember where the watch ended."""


class KubernetesDiscovery:
    """Watches the slices of one service."""

    def __init__(
        self, source: KubernetesSource, api_url: str, namespace: str, pause: Pause = asyncio.sleep
    ) -> None:
        """`api_url` and `namespace` are those to use, wherever they come from."""
        self._source = source
        self._pause = pause
        self._url = f"{api_url.rstrip('/')}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the endpoints of the service; see `Discovery.watch`."""
        retrying = Retrying(self._source.retry_seconds, max(30.0, self._source.retry_seconds))
        while True:
            try:
                async with self._client() as client, aclosing(self._follow(client)) as snapshots:
                    async for snapshot in snapshots:
                        if (new := retrying.read(snapshot)) is not None:
                            yield new
            except _ForgottenError:
                await self._pause(self._source.retry_seconds)
            except (_RefusedError, httpx.HTTPError, httpx.InvalidURL, SettingsError, OSError) as error:
                reason = str(error) or type(error).__name__
                new = retrying.failed(f"the Kubernetes API at {self._url}: {reason}")
                if new is not None:
                    yield new
                await self._pause(retrying.wait_s())

    async def _follow(self, client: httpx.AsyncClient) -> AsyncGenerator[Snapshot, None]:
        """List everything, then apply what happens, for as long as the API goes along."""
        slices = Slices(self._source.port_name)
        version = await self._list(client, slices)
        yield slices.snapshot()
        while True:
            async with aclosing(self._events(client, version)) as events:
                async for kind, found in events:
                    if kind == "ERROR":
                        if found.get("code") == GONE:
                            raise _ForgottenError
                        raise _RefusedError(f"the watch failed: {found.get('message')}")
                    version = _version(found, version)
                    if kind != "BOOKMARK":
                        slices.apply(kind, found)
                        yield slices.snapshot()
            # What happens meanwhile is not missed, and an API that ends every watch at once is not overrun.
            await self._pause(self._source.retry_seconds)

    async def _list(self, client: httpx.AsyncClient, slices: Slices) -> str:
        async with client.stream("GET", self._url, params=self._selector()) as response:
            await _checked(response)
            body = b"".join([octets async for octets in _bounded(response, MAX_LIST_OCTETS)])
        document = _document(body)
        items = document.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _RefusedError("its answer has no list of objects")
        for item in items:
            slices.apply("ADDED", item)
        return _version(document, "")

    async def _events(
        self, client: httpx.AsyncClient, version: str
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        parameters = self._selector() | {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._source.watch_seconds),
        }
        async with client.stream("GET", self._url, params=parameters) as response:
            if response.status_code == GONE:
                raise _ForgottenError
            await _checked(response)
            async for line in _lines(response):
                event = _document(line)
                found = event.get("object")
                if not isinstance(found, dict):
                    raise _RefusedError("an event of the watch has no object")
                yield str(event.get("type")), found

    def _selector(self) -> dict[str, str]:
        return {"labelSelector": f"kubernetes.io/service-name={self._source.service}"}

    def _client(self) -> httpx.AsyncClient:
        patience = httpx.Timeout(PATIENCE_S, read=self._source.watch_seconds + PATIENCE_S)
        headers = {"accept": "application/json"}
        if not self._url.startswith("https:"):
            # Such as `kubectl proxy` on this machine: nobody to trust, and no secret is told.
            return httpx.AsyncClient(timeout=patience, headers=headers, verify=False, trust_env=False)
        token = _text(self._source.token_file, "discovery.kubernetes.token_file")
        if not token.isascii() or not token.isprintable():
            raise SettingsError(f"discovery.kubernetes.token_file {self._source.token_file} holds no token")
        try:
            trust = ssl.create_default_context(cafile=self._source.ca_file)
        except OSError as error:
            raise SettingsError(f"discovery.kubernetes.ca_file {self._source.ca_file}: {error}") from None
        headers["authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(timeout=patience, headers=headers, verify=trust, trust_env=False)


async def _checked(response: httpx.Response) -> None:
    """Go on only if the API agreed; say what an operator can do if it did not."""
    advice = {
        401: "it does not accept the token",
        403: "the service account may not list and watch endpointslices: see deploy/kubernetes",
        404: "it has no such namespace or no discovery.k8s.io/v1",
    }
    if response.status_code != 200:
        raise _RefusedError(f"status {response.status_code}: {advice.get(response.status_code, 'no list')}")


async def _bounded(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    taken = 0
    async for octets in response.aiter_bytes():
        taken += len(octets)
        if taken > most:
            raise _RefusedError(f"its answer has more than {most} octets")
        yield octets


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of an endless answer, none of them longer than an object can be."""
    kept = b""
    async for octets in response.aiter_bytes():
        *lines, kept = (kept + octets).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(kept) > MAX_EVENT_OCTETS:
            raise _RefusedError(f"an event has more than {MAX_EVENT_OCTETS} octets")


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _RefusedError("its answer is no JSON") from None
    if not isinstance(document, dict):
        raise _RefusedError("its answer is no object of Kubernetes")
    return document


def _version(found: dict[str, Any], before: str) -> str:
    """Where a watch goes on behind this object."""
    metadata = found.get("metadata")
    return str(metadata.get("resourceVersion", before)) if isinstance(metadata, dict) else before


def _api_url(source: KubernetesSource) -> str:
    if source.api_url is not None:
        if not is_web_url(source.api_url):
            raise SettingsError(f"discovery.kubernetes.api_url = {source.api_url!r} is no https:// URL")
        return source.api_url
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingsError(
            "discovery.kubernetes.api_url is missing: outside a cluster nothing tells where the API is"
        )
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _text(file: Path, setting: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting} is needed, and {file} cannot be read: {error}") from None
