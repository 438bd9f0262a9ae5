"""Client secrets as text: what is sealed opens again, and nothing else does."""

import base64
import json
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from legato.core.errors import LocalProtocolError
from legato.server.auth_secret import MAX_SECRET_CHARS, Claims, SecretRefused, SigningSecrets

SECRET = b"an old signing secret of the test"
SIGNING = SigningSecrets([SECRET])
CLAIMS = Claims(
    id="one",
    name="web",
    key="0123456789abcdef",
    expires_at=1_800_000_000,
    permissions=("response.create",),
    session={"type": "realtime", "instructions": "Be brief."},
)
SEALED = SIGNING.seal(CLAIMS)

text = st.text(max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
claims = st.builds(
    Claims,
    id=text,
    name=text,
    key=text,
    expires_at=st.integers(0, 2**40),
    permissions=st.none() | st.lists(text, max_size=4).map(tuple),
    session=st.none() | st.dictionaries(text, values, max_size=4),
)


def unsealed(secret: str) -> bytes:
    data = secret.removeprefix("ek_")
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


def resealed(data: bytes) -> str:
    return "ek_" + base64.urlsafe_b64encode(data).decode().rstrip("=")


class TestSealing:
    @given(claims)
    def test_opens_to_what_was_sealed(self, granted: Claims) -> None:
        assert SIGNING.open(SIGNING.seal(granted)) == granted

    def test_is_safe_in_a_header_and_in_a_subprotocol(self) -> None:
        assert set(SEALED) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")

    def test_long_instructions_fit(self) -> None:
        instructions = " ".join(f"Rule {n}: never say {n * 7919}." for n in range(400))
        secret = SIGNING.seal(
            Claims(id="i", name="n", key="k", expires_at=1, session={"instructions": instructions})
        )
        assert len(instructions) > 9_000
        assert len(secret) <= MAX_SECRET_CHARS

    def test_more_than_a_header_line_takes_is_refused(self) -> None:
        noise = base64.b85encode(bytes(n * n % 251 for n in range(20_000))).decode()
        random = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(5_000))
        too_much = Claims(id="i", name="n", key="k", expires_at=1, session={"instructions": noise + random})
        with pytest.raises(LocalProtocolError, match=r"does not fit .* at most 6144 .* session\.update"):
            SIGNING.seal(too_much)

    def test_the_form_is_the_documented_one(self) -> None:
        data = unsealed(SEALED)
        length = int.from_bytes(data[5:7])
        assert data[0] == 1
        assert len(data) == 7 + length + 32
        assert json.loads(zlib.decompress(data[7:-32], -15)) == {
            "id": "one",
            "by": "web",
            "key": "0123456789abcdef",
            "exp": 1_800_000_000,
            "may": ["response.create"],
            "session": {"type": "realtime", "instructions": "Be brief."},
        }


class TestRotation:
    NEW = b"a new signing secret of the test!"

    def test_a_new_secret_signs_and_the_old_one_still_opens(self) -> None:
        both = SigningSecrets([self.NEW, SECRET])
        assert both.open(SEALED) == CLAIMS
        assert both.open(both.seal(CLAIMS)) == CLAIMS
        assert SigningSecrets([self.NEW]).open(both.seal(CLAIMS)) == CLAIMS

    def test_what_an_abandoned_secret_signed_is_foreign(self) -> None:
        with pytest.raises(SecretRefused, match="signed by another server"):
            SigningSecrets([self.NEW]).open(SEALED)


class TestRefusals:
    """Every reason is told apart, and none tells what would have been right."""

    @given(st.integers(len("ek_"), len(SEALED) - 1))
    def test_cut_off(self, length: int) -> None:
        with pytest.raises(SecretRefused, match=r"was cut off|not in the form"):
            SIGNING.open(SEALED[:length])

    @given(st.binary(max_size=200))
    @example(b"")
    @example(b"\x01")
    @example(b"\x01" + bytes(38))
    @example(bytes(39))
    def test_anything_else_in_base64(self, data: bytes) -> None:
        with pytest.raises(SecretRefused):
            SIGNING.open(resealed(data))

    @given(st.text())
    @example("\ud800")
    @example("a")
    @example("=" * 8)
    @example("AAAA AAAA")
    @example("AB")
    def test_any_text(self, text: str) -> None:
        with pytest.raises(SecretRefused):
            SIGNING.open("ek_" + text)

    @given(st.integers(0, len(SEALED) - 4), st.sampled_from("ABCDxyz019-_+/=. é"))
    def test_one_changed_character(self, place: int, letter: str) -> None:
        at = place + len("ek_")
        changed = SEALED[:at] + letter + SEALED[at + 1 :]
        if changed != SEALED:
            with pytest.raises(SecretRefused):
                SIGNING.open(changed)

    @given(st.integers(7 * 8, len(unsealed(SEALED)) * 8 - 1))
    def test_one_changed_bit_is_a_forgery(self, bit: int) -> None:
        data = bytearray(unsealed(SEALED))
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SecretRefused, match="its signature is wrong"):
            SIGNING.open(resealed(bytes(data)))

    def test_another_version(self) -> None:
        with pytest.raises(SecretRefused, match="not made by this version"):
            SIGNING.open(resealed(b"\x02" + unsealed(SEALED)[1:]))

    def test_something_behind_it(self) -> None:
        with pytest.raises(SecretRefused, match="something behind its end"):
            SIGNING.open(resealed(unsealed(SEALED) + b"x"))

    def test_what_another_service_issued(self) -> None:
        with pytest.raises(SecretRefused):
            SIGNING.open("ek_68af296e8e408191a1120ab6383263c2")

    def test_far_too_long(self) -> None:
        with pytest.raises(SecretRefused, match="not in the form"):
            SIGNING.open("ek_" + "A" * MAX_SECRET_CHARS)

    def test_no_reason_repeats_the_secret(self) -> None:
        for wrong in (SEALED[:-5], SEALED[:40] + "A" + SEALED[41:], SEALED + "AAAA"):
            with pytest.raises(SecretRefused) as caught:
                SIGNING.open(wrong)
            assert not any(part in str(caught.value) for part in (wrong[3:11], wrong[-8:]))
