import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import wire
from sidecar.errors import CallError, MalformedCall, MethodNotAllowed, UnknownPath
from sidecar.wire import paths


@pytest.mark.parametrize(
    "spelling",
    [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "//v1//chat///completions//",
        "/V1/Chat/COMPLETIONS",
        "/v1/%63hat/completions",
        "/%761/chat/%2e/completions",
        "/v1/./chat/completions",
        "/v1/chat/completions?api-version=1&x=/v1/models",
    ],
)
def test_every_spelling_of_a_path_reaches_the_same_codec(spelling):
    path, _ = paths.canonical(spelling)
    assert wire.match("POST", path)[0].name == "openai_chat"


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat%2fcompletions",
        "/v1/chat%5Ccompletions",
        "/v1\\chat",
        "/v1/%2563hat/completions",
        "/v1/%00",
        "/v1/%0a",
        "/v1/%7f",
        "/v1/%C3%A4",
        "/v1/ä",
        "/v1/%",
        "/v1/%4",
        "/v1/%zz",
        "/v1/models/../chat/completions",
        "/v1/models/%2e%2e/chat/completions",
        "/v1/.%2E/x",
        "http://host/v1/models",
        "*",
        "",
        "v1/models",
        "/v1/a b",
        "/v1#x",
        "/v1/a\x00b",
        "/v1?a=%zz",
        "/v1?a=%ff",
        "/v1?a=%00",
    ],
)
def test_a_target_with_more_than_one_reading_is_refused(target):
    with pytest.raises(MalformedCall):
        paths.canonical(target)


def test_the_query_is_read_as_pairs_in_order():
    assert paths.canonical("/v1/models?b=1&a=x+y%20z&b=%C3%A4&&c")[1] == (("b", "1"), ("a", "x y z"), ("b", "ä"), ("c", ""))


@given(st.text(st.characters(codec="ascii"), max_size=30).map("/".__add__))
def test_canonical_is_a_fixed_point_or_a_refusal(target):
    try:
        path, _ = paths.canonical(target)
    except MalformedCall:
        return
    assert path[0] == "/"
    assert "//" not in path
    assert path == "/" or path[-1] != "/"
    if "%" not in path:
        assert paths.canonical(path) == (path, ())


@given(st.text(max_size=30))
def test_garbage_raises_only_call_errors(target):
    try:
        path, _ = paths.canonical(target)
        wire.match("POST", path)
    except CallError:
        pass


@given(st.lists(st.tuples(st.sampled_from(["include[]", "stream", "a"]), st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=8)), max_size=4))
def test_a_written_query_reads_back(pairs):
    _, found = paths.canonical(paths.with_query("/x", tuple(pairs)))
    assert found == tuple(pairs)


def test_ids_keep_their_case_and_literals_do_not():
    assert wire.match("GET", "/V1/Responses/resp_AbC") == (wire.match("DELETE", "/v1/responses/resp_AbC")[0], {"id": "resp_AbC"})


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/chat/completions", "/v1/chat", "/v1/chat/completions/x", "/v1/responses/a/b", "/v1/responses/r%3Ax", "/chat/completions"]
)
def test_what_is_not_listed_is_unknown(path):
    with pytest.raises(UnknownPath):
        wire.match("POST", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/chat/completions"), ("post", "/v1/chat/completions"), ("PUT", "/v1/responses/r"), ("GET", "/v1/responses/r/cancel"), ("POST", "/v1/models")],
)
def test_a_known_path_with_another_method_is_told_so(method, path):
    with pytest.raises(MethodNotAllowed):
        wire.match(method, path)


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/chat/completions", "openai"),
        ("/nonsense", "openai"),
        ("/v1/messages", "anthropic"),
        ("/V1/Messages/count_tokens", "anthropic"),
        ("/v1/messagesx", "openai"),
        ("//v1//messages?beta=true", "anthropic"),
        ("/V1/messages/", "anthropic"),
        ("/v1beta/x", "gemini"),
        ("/v1/models/g:generateContent", "gemini"),
        ("/v1/models/g:countTokens", "gemini"),
        ("/v1/models/ft:gpt-4o:x", "openai"),
    ],
)
def test_a_refusal_has_the_family_of_its_prefix(path, family):
    assert wire.family_of(path) == family


def test_every_codec_is_in_the_table_under_its_own_name_and_family():
    for name, codec in wire.CODECS.items():
        assert codec.name == name
        assert codec.family in wire.REFUSALS
