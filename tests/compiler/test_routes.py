"""From an asked name to the members that may serve it."""

from dataclasses import fields

import pytest

from sidecar.call import Call, Source, Tool
from sidecar.compiler.routes import with_members


def served(snapshot, target, family="openai"):
    return [member.name for member in snapshot.members(family, target)]


def test_a_model_goes_to_every_upstream_that_declares_it_by_name(kit):
    snapshot = kit.built(kit.upstream("b"), kit.upstream("a", models=[{"name": "gpt-4o"}]))
    assert served(snapshot, "gpt-4o") == ["a/gpt-4o", "b/gpt-4o"]
    assert served(snapshot, "gpt-4o-mini") == ["b/gpt-4o-mini"]


def test_an_alias_is_its_model_and_names_fold(kit):
    snapshot = kit.built(kit.upstream(models=[{"name": "Llama-3", "aliases": ["Big"]}]))
    assert served(snapshot, "big") == served(snapshot, "llama-3") == ["openai/Llama-3"]


def test_a_glob_admits_the_asked_name_and_the_exact_one_wins(kit):
    snapshot = kit.built(kit.upstream(models=[{"name": "gpt-*", "price": kit.PRICE}, {"name": "gpt-4o"}]))
    (glob,) = snapshot.members("openai", "gpt-9")
    assert (glob.name, glob.price_input) == ("openai/gpt-9", 1e-6)
    (exact,) = snapshot.members("openai", "gpt-4o")
    assert exact.price_input is None


def test_unknown_names_and_other_families_have_no_members(kit):
    snapshot = kit.built()
    assert served(snapshot, "nope") == []
    assert served(snapshot, "gpt-4o", "anthropic") == []


def route(kit, name, targets, *to, **more):
    return kit.document("Route", name, match={"target": targets}, to=list(to), **more)


def test_a_route_decides_alone_where_it_matches(kit):
    snapshot = kit.built(kit.upstream("a"), kit.upstream("b"), route(kit, "r", ["gpt-*"], {"upstream": "b", "weight": 90}, {"upstream": "a", "weight": 10}))
    assert [(member.name, member.weight) for member in snapshot.members("openai", "gpt-4o")] == [("b/gpt-4o", 90), ("a/gpt-4o", 10)]
    assert served(snapshot, "text-embed") == ["a/text-embed", "b/text-embed"]


def test_a_route_may_name_another_model(kit):
    snapshot = kit.built(kit.upstream(), route(kit, "r", ["fast"], {"upstream": "openai", "model": "gpt-4o-mini"}))
    assert served(snapshot, "fast") == ["openai/gpt-4o-mini"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_most_specific_route_wins_in_any_order(kit, order):
    routes = [
        route(kit, "all", ["**"], {"upstream": "openai", "model": "text-embed"}),
        route(kit, "some", ["gpt-*"], {"upstream": "openai", "model": "gpt-4o"}),
        route(kit, "one", ["gpt-4o-mini"], {"upstream": "openai", "model": "gpt-4o-mini"}),
    ]
    snapshot = kit.built(kit.upstream(), *routes[::order])
    assert [served(snapshot, name) for name in ("x", "gpt-4o", "gpt-4o-mini")] == [["openai/text-embed"], ["openai/gpt-4o"], ["openai/gpt-4o-mini"]]
    assert snapshot.route("openai", "gpt-5").name == "some"


def test_prices_are_per_token(kit):
    models = [{"name": "a", "price": {"input": 2.5, "output": 10, "per": "1M"}}, {"name": "b", "price": {"input": 2, "per": "1K"}}]
    snapshot = kit.built(kit.upstream(models=models))
    assert [(m.price_input, m.price_output) for name in "ab" for m in snapshot.members("openai", name)] == [(2.5e-6, 1e-5), (2e-3, 0.0)]


def test_labels_are_the_upstreams(kit):
    (member,) = kit.built(kit.upstream(labels={"region": "eu"})).members("openai", "gpt-4o")
    assert member.labels == {"region": "eu"}


def test_resolving_keeps_every_other_field_of_a_call(kit):
    snapshot = kit.built()
    full = {
        "id": "1",
        "protocol": "llm",
        "operation": "chat",
        "dialect": "d",
        "target": "gpt-4o",
        "method": "PUT",
        "path": "/p",
        "stream": True,
        "body": {"a": 1},
    }
    full |= {"segments": ("s",), "params": {"b": 2}, "tools": (Tool("t"),), "tool": Tool("u"), "refs": (("response", "r"),), "members": (), "tokens": 3}
    full |= {
        "max_output": 4,
        "choices": 5,
        "bytes": 6,
        "source": Source("::1"),
        "headers": (("h", "v"),),
        "query": (("q", "v"),),
        "trace": ("a", "b", "c"),
        "asked": "m",
    }
    assert set(full) == {field.name for field in fields(Call)}, "a new field must travel too"
    call = Call(**full)
    resolved = snapshot.resolve(call, "openai")
    assert {name: getattr(resolved, name) for name in full if name != "members"} == {name: value for name, value in full.items() if name != "members"}
    assert [member.name for member in resolved.members] == ["openai/gpt-4o"]
    assert with_members(resolved, ()) == call


def test_the_same_name_gives_the_same_tuple(kit):
    snapshot = kit.built()
    assert snapshot.members("openai", "gpt-4o") is snapshot.members("openai", "gpt-4o")


def test_the_largest_output_is_the_models(kit):
    snapshot = kit.built(kit.upstream(models=[{"name": "gpt-*", "maxOutput": 7}, {"name": "gpt-4o", "maxOutput": 9}]))
    assert [snapshot.output_bound(snapshot.members("openai", name)[0]) for name in ("gpt-4o", "gpt-5")] == [9, 7]
