import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import MalformedCall, UpstreamGarbage
from sidecar.wire import jsonguard


class Twice(Exception):
    pass


def reference(text: str):
    """What the guard promises, said slowly: the value, or None where there is more than one reading."""

    def pairs(found):
        names = {name.casefold() for name, _ in found}
        if len(names) != len(found):
            raise Twice
        return dict(found)

    def integer(digits):
        if not -(2**63) <= int(digits) < 2**64:
            raise Twice
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer)
    except Twice:
        return None


SPACE = st.sampled_from(["", "", " ", "\n", "\t "])
CHARS = st.sampled_from(["a", "A", "b", '\\"', "\\u0022", "\\u0041", "ß", "\\u00df", "ss", "\\\\u0022", "\\n", "0", "\u017f", "s", "K"])
STRINGS = st.lists(CHARS, max_size=3).map(lambda chars: '"' + "".join(chars) + '"')
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.sampled_from([str(2**63), str(2**64 - 1), str(2**64), str(-(2**63)), str(-(2**63) - 1), "1e19", "1.5", "-0", "1E2", "0.10"]),
)


@st.composite
def texts(draw, depth=3):
    kinds = [STRINGS, NUMBERS, st.sampled_from(["true", "false", "null"])]
    kind = draw(st.integers(0, 4 if depth else 2))
    pad = lambda text: draw(SPACE) + text + draw(SPACE)  # noqa: E731
    if kind < 3:
        return pad(draw(kinds[kind]))
    inner = [draw(texts(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == 3:
        return pad("[" + ",".join(inner) + draw(SPACE if not inner else st.just("")) + "]")
    return pad("{" + ",".join(pad(draw(STRINGS)) + ":" + value for value in inner) + "}")


@given(texts())
def test_it_reads_what_the_slow_reading_reads_and_refuses_what_that_refuses(text):
    expected = reference(text)
    try:
        value = jsonguard.parse(text.encode())
    except MalformedCall:
        assert expected is None
    else:
        assert value == expected


@given(texts())
def test_what_it_accepts_is_written_and_read_again_as_the_same_value(text):
    try:
        value = jsonguard.parse(text.encode())
    except MalformedCall:
        return
    assert jsonguard.parse(jsonguard.dump(value)) == value


@given(st.binary(max_size=60))
def test_garbage_raises_only_the_error_it_was_asked_to_raise(data):
    try:
        jsonguard.parse(data, UpstreamGarbage)
    except UpstreamGarbage:
        return
    orjson.loads(data)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"A":1}',
        b'{"x":{"model":"m","MODEL":"n"}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":"\\u0022\\u0022","b":1,"b":2}',
        '{"\u017f":1,"s":2}'.encode(),
        b'{"a":18446744073709551616}',
        b"[-9223372036854775809]",
        b"18446744073709551616",
        b'[1,2,{"n":' + b"9" * 400 + b"}]",
        b'["\\ud800"]',
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b"\xef\xbb\xbf{}",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b"",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_a_text_with_more_than_one_reading_is_refused(text):
    with pytest.raises(MalformedCall):
        jsonguard.parse(text)


@pytest.mark.parametrize("text", [b"18446744073709551615", b"[-9223372036854775808]", b'{"a":1e19}', b'{"a":{"b":1},"c":{"b":1}}', b'{"":1," ":2}'])
def test_what_only_looks_like_it_is_read(text):
    assert jsonguard.parse(text) == json.loads(text)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_is_bounded_where_writing_is(opening):
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * jsonguard.DEPTH + b"1" + closing * jsonguard.DEPTH
    assert jsonguard.dump(jsonguard.parse(deep)) == deep
    for levels in (jsonguard.DEPTH + 1, 1000, 100_000):
        with pytest.raises(MalformedCall):
            jsonguard.parse(opening * levels + b"1" + closing * levels)


def test_long_arrays_of_tokens_are_read_and_long_arrays_of_objects_are_looked_into():
    tokens = orjson.dumps(list(range(5000)))
    assert jsonguard.parse(tokens) == list(range(5000))
    with pytest.raises(MalformedCall):
        jsonguard.parse(b"[" + b"1," * 500 + b'{"a":1,"A":2}]')
    with pytest.raises(MalformedCall):
        jsonguard.parse(b"[" + b"1," * 500 + b"18446744073709551616]")


@pytest.mark.parametrize("text", [b"[]", b'"x"', b"1", b"null"])
def test_a_body_that_must_be_an_object_is_one(text):
    with pytest.raises(MalformedCall):
        jsonguard.parse_object(text)


def test_json_in_a_string_is_written_canonically_and_text_stays_text():
    assert jsonguard.canonical('{ "a" : 1.0 , "b":"\\u0041"}') == '{"a":1.0,"b":"A"}'
    assert jsonguard.canonical("not json {") == "not json {"
    assert jsonguard.canonical('{"a":1,"a":2}') == '{"a":1,"a":2}'
    assert jsonguard.canonical("") == ""


@pytest.mark.parametrize("secret", [b'{"k-9f3a":1,"k-9f3a":2}', b'{"k-9f3a" 1}', b'["k-9f3a\xff"]'])
def test_a_refusal_never_echoes_the_text(secret):
    with pytest.raises(MalformedCall) as caught:
        jsonguard.parse(secret)
    assert "9f3a" not in str(caught.value)
