"""Product and reference agree on every configuration, connection ID and piece of garbage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lb.conftest import Codec, octets, word
from tests.lb.quic_lb_reference import Config, counted_nonce, decode, encode

# The codec may have to be built first.
pytestmark = pytest.mark.timeout(300)

KEYS = st.none() | st.binary(min_size=16, max_size=16)
FIRST_OCTETS = st.sampled_from(["self-described", "random", "zero"])
RANDOM = st.binary(min_size=20, max_size=20)
SEEDS = st.binary(min_size=32, max_size=32)


@st.composite
def legal_configs(draw: st.DrawFn, least_len: int = 6) -> Config:
    server_id_len = draw(st.integers(1, 15))
    nonce_len = draw(st.integers(4, 19 - server_id_len))
    cid_len = draw(st.integers(max(least_len, 1 + server_id_len + nonce_len), 20))
    return Config(draw(st.integers(0, 6)), server_id_len, nonce_len, draw(KEYS), draw(FIRST_OCTETS), cid_len)


CONFIG_SETS = st.lists(legal_configs(), max_size=7, unique_by=lambda config: config.id)


def decoded_by_reference(configs: list[Config], dcid: bytes, *, long_header: bool) -> str:
    decoded = decode(configs, dcid, long_header=long_header)
    if isinstance(decoded, str):
        return f"unroutable: {decoded}"
    return f"{decoded[0]} {decoded[1].hex()}"


def assert_same_decoding(codec: Codec, configs: list[Config], dcid: bytes) -> None:
    words = [word(config) for config in configs]
    for header in ("long", "short"):
        expected = decoded_by_reference(configs, dcid, long_header=header == "long")
        assert codec.ask(header, octets(dcid), *words) == expected


@settings(deadline=None, max_examples=300)
@given(st.data(), CONFIG_SETS.filter(bool), RANDOM)
def test_encoding_and_decoding(
    codec: Codec, data: st.DataObject, configs: list[Config], random: bytes
) -> None:
    config = data.draw(st.sampled_from(configs))
    server_id = data.draw(st.binary(min_size=config.server_id_len, max_size=config.server_id_len))
    nonce = data.draw(st.binary(min_size=config.nonce_len, max_size=config.nonce_len))
    cid = encode(config, server_id, nonce, random)
    assert codec.ask("encode", word(config), octets(server_id), octets(nonce), octets(random)) == cid.hex()
    assert_same_decoding(codec, configs, cid)
    assert_same_decoding(codec, configs, cid[: data.draw(st.integers(0, len(cid)))])
    assert_same_decoding(codec, configs, cid + data.draw(st.binary(max_size=40)))
    assert decode(configs, cid, long_header=True) == (config.id, server_id)


@settings(deadline=None, max_examples=300)
@given(CONFIG_SETS, st.binary(max_size=60))
def test_garbage(codec: Codec, configs: list[Config], dcid: bytes) -> None:
    assert_same_decoding(codec, configs, dcid)


@settings(deadline=None, max_examples=200)
@given(legal_configs(least_len=8), st.data(), SEEDS, RANDOM)
def test_counted_nonces(
    codec: Codec, config: Config, data: st.DataObject, seed: bytes, random: bytes
) -> None:
    server_id = data.draw(st.binary(min_size=config.server_id_len, max_size=config.server_id_len))
    end = min(256**config.nonce_len, 2**64 - 1)
    used = data.draw(st.integers(0, end) | st.just(end) | st.just(end - 1))
    answer = codec.ask("issue", word(config), octets(server_id), octets(seed), str(used), octets(random))
    nonce = counted_nonce(config, seed, used)
    if nonce is None:
        assert answer.startswith("refused: every nonce is used up: rotate")
    else:
        assert answer == encode(config, server_id, nonce, random).hex()


@settings(deadline=None, max_examples=200)
@given(
    st.builds(
        Config,
        st.integers(0, 9),
        st.integers(0, 21),
        st.integers(0, 21),
        KEYS,
        FIRST_OCTETS,
        st.integers(0, 24),
    )
)
def test_legal_configurations(codec: Codec, config: Config) -> None:
    answer = codec.ask("short", "-", word(config))
    assert answer.startswith("unroutable: too short" if config.is_legal() else "refused: ")


def test_lengths_that_do_not_fit_the_configuration(codec: Codec) -> None:
    config = word(Config(0, 3, 4))
    random = "00" * 20
    assert codec.ask("encode", config, "0102", "00" * 4, random).startswith("refused: server ID of 2 octets")
    assert codec.ask("encode", config, "010203", "00" * 5, random).startswith("refused: nonce of 5 octets")
    assert codec.ask("encode", config, "-", "00" * 4, random).startswith("refused: a server ID has 1 to 15")
