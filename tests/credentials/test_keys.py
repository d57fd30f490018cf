"""The form of API keys."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import keys

random_bytes = st.binary(min_size=20, max_size=64)


@given(random_bytes)
def test_a_key_looks_like_one(data):
    key = keys.make(data)
    assert keys.looks_like(key)
    assert key.startswith("sck_")
    assert key.isascii()
    assert key[4:].isalnum()


@given(random_bytes, random_bytes)
def test_other_bytes_make_another_key(one, other):
    assert (keys.make(one) == keys.make(other)) == (one == other)


@given(random_bytes, st.data())
def test_one_wrong_character_is_noticed(data, draw):
    key = keys.make(data)
    place = draw.draw(st.integers(4, len(key) - 1))
    wrong = draw.draw(st.sampled_from(keys.ALPHABET).filter(lambda char: char != key[place]))
    assert not keys.looks_like(key[:place] + wrong + key[place + 1 :])


@given(st.text())
def test_garbage_never_looks_like_a_key(text):
    assert not keys.looks_like(text)
    assert not keys.looks_like("sck_" + text)


@pytest.mark.parametrize("size", [0, 19, 65])
def test_too_few_random_bits_are_no_key(size):
    with pytest.raises(ValueError, match="random bytes"):
        keys.make(bytes(size))


def test_twenty_bytes_make_a_key_of_fixed_length():
    assert {len(keys.make(bytes([n]) * 20)) for n in range(256)} == {4 + 27 + 6}


def test_documents_hold_the_sha256():
    assert keys.digest("sck_x") == hashlib.sha256(b"sck_x").hexdigest()
