"""Every codec keeps the contract of codecs; a new file in the folder is found by itself."""

import pytest

from legato._plugins import names, resolve
from legato.core.audio import RATES, AudioFormat
from legato.testing.codecs import check_codec

FORMATS = [AudioFormat(codec, rate) for codec in names("audio.codecs") for rate in RATES[codec]]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.codec}-{form.rate}")
def test_keeps_the_contract(form: AudioFormat) -> None:
    check_codec(resolve("audio.codecs", form.codec)(form))


def test_every_format_of_the_wire_has_a_codec() -> None:
    assert set(names("audio.codecs")) == set(RATES)
