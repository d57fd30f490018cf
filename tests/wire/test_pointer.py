import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import CannotCarry
from sidecar.segment import Edit
from sidecar.wire import pointer

KEYS = st.sampled_from(["a", "b", "", "/", "~", "~1", "0", "-", "ä"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(value, at=""):
    yield at, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, f"{at}/{pointer.escape(str(key))}")


@given(VALUES)
def test_every_place_of_a_body_can_be_pointed_at(body):
    for at, value in places(body):
        assert pointer.get(body, at) is value


@given(VALUES, st.data())
def test_a_set_is_found_where_it_was_put_and_the_input_stays(body, data):
    before = copy.deepcopy(body)
    at, _ = data.draw(st.sampled_from(list(places(body))))
    edited = pointer.apply(body, [Edit(at, "new")])
    assert pointer.get(edited, at) == "new"
    assert body == before


@given(VALUES, st.data())
def test_only_the_way_to_an_edit_is_copied(body, data):
    found = [at for at, value in places(body) if at]
    if not found:
        return
    at = data.draw(st.sampled_from(found))
    edited = pointer.apply(body, [Edit(at, "new")])
    for other, value in places(body):
        if isinstance(value, dict | list) and not at.startswith(other + "/") and not other.startswith(at + "/") and other != at:
            assert pointer.get(edited, other) is value


@given(st.lists(st.integers(), min_size=1, max_size=8), st.data())
def test_removals_name_places_of_the_body_as_it_was(items, data):
    doomed = data.draw(st.sets(st.sampled_from(range(len(items)))))
    order = data.draw(st.permutations(sorted(doomed)))
    edited = pointer.apply({"x": items}, [Edit(f"/x/{index}", op="remove") for index in order])
    assert edited["x"] == [item for index, item in enumerate(items) if index not in doomed]


def test_no_edit_means_the_same_object():
    body = {"a": [1]}
    assert pointer.apply(body, ()) is body


def test_missing_parents_are_made_as_objects():
    assert pointer.apply({}, [Edit("/a/b/c", 1)]) == {"a": {"b": {"c": 1}}}
    assert pointer.apply({"a": None}, [Edit("/a/b", 1)]) == {"a": {"b": 1}}


def test_an_array_grows_only_at_its_end():
    assert pointer.apply({"a": [1]}, [Edit("/a/-", 2), Edit("/a/2", 3)]) == {"a": [1, 2, 3]}
    with pytest.raises(CannotCarry):
        pointer.apply({"a": [1]}, [Edit("/a/5", 2)])


def test_edits_of_one_place_follow_one_another_and_never_touch_a_given_value():
    given_value = {"c": 1}
    edited = pointer.apply({"a": 0}, [Edit("/a", given_value), Edit("/a/d", 2)])
    assert edited == {"a": {"c": 1, "d": 2}}
    assert given_value == {"c": 1}


def test_a_removal_of_what_is_not_there_does_nothing():
    body = {"a": [1]}
    assert pointer.apply(body, [Edit("/b/c", op="remove"), Edit("/a/7", op="remove")]) == body


@pytest.mark.parametrize("bad", ["a", "/a~2", "/a/~"])
def test_what_is_no_pointer_is_refused(bad):
    with pytest.raises(CannotCarry):
        pointer.get({"a": 1}, bad)
    with pytest.raises(CannotCarry):
        pointer.apply({"a": 1}, [Edit(bad, 1)])


@pytest.mark.parametrize("at", ["/t/x", "/l/x", "/l/01", "/l/-1", "/t/x/y", "/l/1e0"])
def test_a_way_through_a_text_or_out_of_an_array_is_refused(at):
    with pytest.raises(CannotCarry):
        pointer.apply({"t": "text", "l": [1, 2]}, [Edit(at, 1)])


@pytest.mark.parametrize("at", ["/x", "/l/2", "/l/-", "/l/00", "/t/0"])
def test_reading_where_nothing_is_raises_a_lookup_error(at):
    with pytest.raises(LookupError):
        pointer.get({"t": "text", "l": [1, 2]}, at)


def test_the_whole_body_can_be_set_but_not_taken_out():
    assert pointer.apply({"a": 1}, [Edit("", {"b": 2})]) == {"b": 2}
    with pytest.raises(CannotCarry):
        pointer.apply({"a": 1}, [Edit("", op="remove")])
    with pytest.raises(CannotCarry):
        pointer.apply({"a": 1}, [Edit("/a", op="move")])
