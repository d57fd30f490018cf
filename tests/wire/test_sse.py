import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UpstreamGarbage
from sidecar.wire import sse

LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b"data:  two", b"event: ping", b"id: 7", b"id: a\0b", b": hello", b"retry: 10", b"other: 1", b"", b"\xff"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.builds(
    lambda bom, pairs: bom + b"".join(line + end for line, end in pairs),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, ENDS), max_size=20),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def events(pieces: list[bytes]) -> list[sse.Event]:
    parser = sse.SseParser(10_000)
    found = [event for piece in pieces for event in parser.feed(piece)]
    return found + parser.finish()


def reference(data: bytes) -> list[tuple[str, bytes]]:
    """The standard's own line-by-line reading: what is dispatched."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found, kind, lines = [], "", []
    for line in text.split(b"\n")[:-1]:
        if not line:
            if lines:
                found.append((kind, b"\n".join(lines)))
            kind, lines = "", []
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"event":
            kind = value.decode()
    return found


@given(STREAMS, st.lists(st.integers(0, 1000), max_size=12))
def test_any_split_gives_the_same_events(data, places):
    assert events(cut(data, places)) == events([data])


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_same_events(data):
    assert events([data[i : i + 1] for i in range(len(data))]) == events([data])


@given(STREAMS)
def test_events_are_those_of_the_standard(data):
    assert [(event.type, event.data) for event in events([data]) if event.data is not None] == reference(data)


@given(STREAMS)
def test_no_byte_of_a_complete_event_is_lost(data):
    raw = b"".join(event.raw for event in events([data]))
    assert data.startswith(raw)


def test_a_comment_is_an_event_without_data():
    assert events([b": ping\n\n"]) == [sse.Event(b": ping\n\n")]


def test_data_lines_are_joined_and_fields_read():
    assert events([b"event: a\nid: 1\ndata: x\ndata: y\n\n"]) == [sse.Event(b"event: a\nid: 1\ndata: x\ndata: y\n\n", "a", b"x\ny", "1")]


def test_an_incomplete_event_is_dropped_at_the_end():
    assert events([b"data: a\n\ndata: b\n"]) == [sse.Event(b"data: a\n\n", "", b"a")]


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 100 + b"\n\n"], [b"data: " + b"x" * 20] * 5, [b": " + b"c" * 100]])
def test_an_event_over_the_limit_is_garbage(pieces):
    parser = sse.SseParser(50)
    with pytest.raises(UpstreamGarbage):
        for piece in pieces:
            parser.feed(piece)


def test_many_small_events_in_one_piece_are_not_over_the_limit():
    parser = sse.SseParser(20)
    assert len(parser.feed(b"data: x\n\n" * 100)) == 100
    assert parser.pending == 0


def test_a_written_event_reads_back():
    assert events([sse.event(b"{}", "t")]) == [sse.Event(b"event: t\ndata: {}\n\n", "t", b"{}")]
    assert events([sse.event(b"{}")]) == [sse.Event(b"data: {}\n\n", "", b"{}")]
