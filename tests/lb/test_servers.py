import ipaddress

import pytest
from tests.lb.fleets import at, listing, name, named, one

from legato.core.errors import SettingsError
from legato.lb.servers import MAX_SERVERS, Listed, Places, Snapshot, address_of, judge, shown

TEN = Places((ipaddress.ip_network("10.0.0.0/8"),), {("10.0.0.7", 443)})
ANYWHERE = Places()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("192.0.2.7", 4434, ("192.0.2.7", 4434)),
        ("2001:DB8:0::1", 1, ("2001:db8::1", 1)),
        ("::ffff:192.0.2.7", 65535, ("192.0.2.7", 65535)),
    ],
)
def test_an_address_has_one_notation(host: str, port: int, expected: tuple[str, int]) -> None:
    assert address_of(host, port) == expected


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("voice.example", 1, "no IP address"),
        ("0.0.0.0", 1, "not the address of one host"),
        ("::", 1, "not the address of one host"),
        ("224.0.0.1", 1, "not the address of one host"),
        ("255.255.255.255", 1, "not the address of one host"),
        ("fe80::1%eth0", 1, "zone"),
        ("fe80::1", 1, "only good on one link"),
        ("192.0.2.7", 0, "no usable port"),
        ("192.0.2.7", 65536, "no usable port"),
    ],
)
def test_what_is_no_servers_address_is_told(host: str, port: int, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        address_of(host, port)


def test_servers_without_names_are_called_by_their_address() -> None:
    judged = judge(listing(1, one(2, server_ids=(b"two", b"two", b"deux"))), {}, TEN, named)
    assert judged.servers[at(1)].server_ids == (name(1),)
    assert judged.servers[at(2)].server_ids == (b"deux", b"two")
    assert judged.problems == ()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Listed(address=("192.0.2.1", 4434)), "outside the allowed networks"),
        (Listed(address=("10.0.0.9", 0)), "no usable port"),
        (Listed(address=("voice", 4434)), "no IP address"),
        (Listed(address=("::ffff:10.0.0.9", 4434)), "is not written as 10.0.0.9:4434"),
        (Listed(address=("10.0.0.7", 443)), "it is a balancer"),
        (one(9, load_url="https://10.0.0.9:99999/readyz"), "no URL to ask for its load"),
        (one(9, load_url="10.0.0.9/readyz"), "no URL to ask for its load"),
        (one(9, weight=-1), "weight -1"),
        (one(9, weight=1001), "weight 1001"),
        (one(9, server_ids=(b"",)), "1 to 15 octets"),
        (one(9, server_ids=(bytes(16),)), "1 to 15 octets"),
    ],
)
def test_one_bad_entry_harms_no_other(bad: Listed, reason: str) -> None:
    judged = judge(listing(1, bad, 2, problems=("line 7 is no server",)), {}, TEN, named)
    assert list(judged.servers) == [at(1), at(2)]
    assert judged.problems[0] == "line 7 is no server"
    assert reason in judged.problems[1]
    assert len(judged.problems) == 2


def test_the_same_entry_twice_is_one_server() -> None:
    judged = judge(listing(1, 2, 1), {}, ANYWHERE, named)
    assert list(judged.servers) == [at(1), at(2)]
    assert judged.problems == ()


def test_two_entries_that_contradict_each_other_are_told() -> None:
    judged = judge(listing(one(1, weight=2), one(1, weight=3)), {}, ANYWHERE, named)
    assert judged.servers[at(1)].weight == 2
    assert "listed twice" in judged.problems[0]


@pytest.mark.parametrize("first", [1, 2])
def test_of_two_with_one_name_the_lower_address_keeps_it_in_whatever_order(first: int) -> None:
    second = 3 - first
    twins = listing(one(first, server_ids=(b"same",)), one(second, server_ids=(b"same",)), 3)
    judged = judge(twins, {}, ANYWHERE, named)
    assert list(judged.servers) == [at(1), at(3)]
    assert "10.0.0.2:4434 is left out: 10.0.0.1:4434 has its server ID 73616d65" in judged.problems[0]


def test_who_had_a_name_keeps_it() -> None:
    twins = listing(one(1, server_ids=(b"same",)), one(2, server_ids=(b"same",)))
    judged = judge(twins, {b"same": at(2)}, ANYWHERE, named)
    assert list(judged.servers) == [at(2)]


def test_a_name_is_free_when_its_owner_has_left() -> None:
    judged = judge(listing(one(1, server_ids=(b"same",))), {b"same": at(2)}, ANYWHERE, named)
    assert list(judged.servers) == [at(1)]
    assert judged.problems == ()


def test_a_server_without_any_name_is_left_out() -> None:
    judged = judge(listing(1), {}, ANYWHERE, lambda _: ())
    assert judged.servers == {}
    assert "it has no server ID" in judged.problems[0]


def test_more_servers_than_a_balancer_takes_are_told() -> None:
    many = [
        Listed(address=(str(ipaddress.ip_address(0x0A000001 + number)), 4434), server_ids=(b"%d" % number,))
        for number in range(MAX_SERVERS + 2)
    ]
    judged = judge(Snapshot(servers=tuple(reversed(many))), {}, ANYWHERE, named)
    assert len(judged.servers) == MAX_SERVERS
    assert many[0].address in judged.servers
    assert many[-1].address not in judged.servers
    assert "divide the servers" in judged.problems[0]


def test_addresses_are_shown_as_people_write_them() -> None:
    assert shown(("10.0.0.1", 1)) == "10.0.0.1:1"
    assert shown(("2001:db8::1", 1)) == "[2001:db8::1]:1"
