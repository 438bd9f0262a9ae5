"""Who gets a key from the page: the user who runs the server, and nobody else."""

import os
import socket
import threading
from typing import Any

import httpx
import pytest

from legato.server.auth import Authority
from legato.server.auth_settings import ApiKey, AuthSettings, hash_of_key
from legato.server.http import Description, make_app
from legato.server.page_key import PAGE_KEY_PATH, OwnerOf, owner_of_peer, page_key_route
from legato.server.settings import ServerSettings
from legato.trust import new_api_key

KEY = new_api_key()
ORIGIN = "https://localhost:4433"
DESCRIPTION = Description(server_version="1.2.3", protocol_versions=(1,), path="/legato/v1")


def own_user(_peer: tuple[str, int], _here: tuple[str, int]) -> int:
    return os.geteuid()


async def ask(
    headers: dict[str, str] | None = None,
    *,
    client: tuple[str, int] = ("127.0.0.1", 50_000),
    url: str = ORIGIN,
    owner_of: OwnerOf = own_user,
    settings: ServerSettings | None = None,
) -> tuple[httpx.Response, Authority]:
    settings = settings or ServerSettings()
    development = KEY if settings.auth.required and not settings.auth.keys else None
    authority = Authority(settings, development_key=development)
    app = make_app(lambda: DESCRIPTION, lambda: None, [page_key_route(authority, development, owner_of)])
    transport = httpx.ASGITransport(_at_loopback(app), client=client)
    async with httpx.AsyncClient(transport=transport, base_url=url) as browser:
        return await browser.post(PAGE_KEY_PATH, headers={"origin": ORIGIN, **(headers or {})}), authority


def _at_loopback(app: Any) -> Any:
    """The server's own address, which the test transport would invent."""

    async def at(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, "server": ("127.0.0.1", 4433)}, receive, send)

    return at


async def test_the_page_gets_a_secret_that_opens_calls_and_makes_no_other() -> None:
    answer, authority = await ask({"sec-fetch-site": "same-origin"})
    assert answer.json()["required"] is True
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    secret = answer.json()["key"]
    assert secret.startswith("ek_")
    assert KEY not in secret
    grant = authority.admit(secret)
    assert grant.name == "development"
    with pytest.raises(Exception, match="cannot make another"):
        authority.issue(grant, None, 60)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://evil.example"}, id="another page"),
        pytest.param({"origin": "null"}, id="a page without an origin"),
        pytest.param({"origin": "http://localhost:4433"}, id="the same name without TLS"),
        pytest.param({"origin": "https://localhost:8000"}, id="another server of this machine"),
        pytest.param({"origin": ""}, id="no page at all"),
        pytest.param({"sec-fetch-site": "same-site"}, id="a browser that knows better"),
        pytest.param({"x-forwarded-for": "192.0.2.1"}, id="a proxy"),
        pytest.param({"forwarded": "for=192.0.2.1"}, id="a proxy that keeps to the standard"),
        pytest.param({"host": "rebound.example", "origin": "https://rebound.example"}, id="a rebound name"),
        pytest.param({"host": "[::", "origin": "https://[::"}, id="a name that is none"),
    ],
)
async def test_others_are_told_to_enter_one(headers: dict[str, str]) -> None:
    answer, _ = await ask(headers)
    assert answer.json() == {"required": True, "key": None}


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.2", "2001:db8::1", "unix"])
async def test_nobody_from_elsewhere_gets_one(address: str) -> None:
    answer, _ = await ask(client=(address, 50_000))
    assert answer.json()["key"] is None


@pytest.mark.parametrize("owner", [os.geteuid() + 1, None])
async def test_nobody_elses_browser_gets_one(owner: int | None) -> None:
    answer, _ = await ask(owner_of=lambda _peer, _here: owner)
    assert answer.json()["key"] is None


async def test_where_an_operator_has_listed_keys_people_have_theirs() -> None:
    keys = (ApiKey(name="team", hash=hash_of_key(new_api_key())),)
    answer, _ = await ask(settings=ServerSettings(auth=AuthSettings(keys=keys)))
    assert answer.json() == {"required": True, "key": None}


async def test_a_server_that_asks_for_no_key_says_so() -> None:
    answer, _ = await ask(settings=ServerSettings(auth=AuthSettings(required=False)))
    assert answer.json() == {"required": False, "key": None}


async def test_it_is_never_just_read() -> None:
    authority = Authority(ServerSettings(), development_key=KEY)
    app = make_app(lambda: DESCRIPTION, lambda: None, [page_key_route(authority, KEY, own_user)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as browser:
        assert (await browser.get(PAGE_KEY_PATH)).status_code == 405


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
def test_the_kernel_says_whose_the_other_end_is(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as listening, socket.socket(family) as calling:
        listening.bind((address, 0))
        listening.listen()
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=lambda: accepted.append(listening.accept()[0]))
        thread.start()
        calling.connect(listening.getsockname()[:2])
        thread.join()
        here, peer = calling.getpeername()[:2], calling.getsockname()[:2]
        with accepted[0]:
            assert owner_of_peer(peer, here) == os.geteuid()
            assert owner_of_peer((address, 1), here) is None
    assert owner_of_peer(("no address", 1), here) is None
