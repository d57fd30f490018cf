"""What of the inputs is kept: the leaves that conditions read and no more, bounded; or all of it, for who has the key."""

import math

import orjson
import pytest

from sidecar.call import Tool
from sidecar.config.documents import Records, Seal
from sidecar.errors import BadRecord, ConfigError
from sidecar.evaluate import inputs
from sidecar.principal import Principal
from sidecar.telemetry import kept, sealing
from sidecar.telemetry.kept import open_keeper

READS = (
    "call.params.?temperature.orValue(0.0) > 1.0 && call.stream",
    "principal.claims.mfa || variables.boss",
    'source.loopback && call.params["weird.key"] == 1',
    'call.params.tags.exists(t, t == "x")',
)  # fmt: skip


@pytest.fixture
def snapshot(kit):
    rules = [kit.rule(f"r{index}", "deny", when) for index, when in enumerate(READS)]
    boss = {"boss": 'principal.roles.exists(r, r == "boss")'}
    audit = kit.policy("a", kit.rule("r", "deny", "call.params.seen_by_audit == 1"), mode="audit", operation=["chat"])
    other = kit.policy("o", kit.rule("r", "deny", "call.params.other == 1"), operation=["embeddings"])
    count = kit.document("Quota", "q", key=["string(call.params.?user.orValue(''))"], limits=[{"metric": "requests", "max": 9, "per": "1m"}])
    return kit.built(kit.ALLOW, kit.policy("p", *rules, variables=boss, operation=["chat"]), audit, other, count)


def test_the_paths_are_those_of_all_candidates_whatever_was_read(kit, snapshot):
    call = snapshot.resolve(kit.call(), "openai")
    assert inputs.wanted(snapshot, call, kit.DEV) == (
        "call.params.seen_by_audit", "call.params.tags", "call.params.temperature", "call.params.user", "call.params.weird.key",
        "principal.claims.mfa", "principal.roles", "source.loopback",
    )  # fmt: skip


def test_the_paths_of_the_same_candidates_are_made_once(kit, snapshot):
    first, second = (inputs.wanted(snapshot, snapshot.resolve(kit.call(), "openai"), kit.DEV) for _ in range(2))
    assert first is second


def test_values_absences_and_nothing_else_are_kept(kit, snapshot):
    made = kit.call(params={"temperature": 2.0, "tags": ["a"], "prompt": "SECRET", "metadata": {"k": "SECRET"}}, bytes=9)
    held = kept.Facts().keep(snapshot, kit.asked(snapshot, made))
    assert held == {
        "values": {"call.params.tags": ["a"], "call.params.temperature": 2.0, "principal.claims.mfa": True, "principal.roles": (), "source.loopback": False},
        "absent": ["call.params.seen_by_audit", "call.params.user", "call.params.weird"],
        "left": [],
    }


def test_of_a_caller_who_is_not_known_nothing_is_kept(kit, snapshot):
    decision = kit.asked(snapshot)
    nobody = kit.replace(decision, principal=None)
    assert kept.Facts().keep(snapshot, nobody) is None
    assert kept.Sealed(sealing.Sealer(sealing.make()[1])).keep(snapshot, nobody) is None


@pytest.mark.parametrize("value", ["x" * 1025, ["x" * 600, "y" * 600], {"a": "x" * 2000}, 2**70, [2**70], "\ud800", math.nan, math.inf, frozenset({1})])
def test_what_is_too_large_or_no_json_is_named_and_left(kit, value):
    held = inputs.facts(("call.params.odd", "call.params.plain"), kit.call(params={"odd": value, "plain": 1}), kit.DEV, None)
    assert held == {"values": {"call.params.plain": 1}, "absent": [], "left": ["call.params.odd"]}


def test_all_values_of_one_decision_are_bounded_together(kit):
    params = {f"p{index:02}": "x" * 1000 for index in range(30)}
    held = inputs.facts(tuple(f"call.params.{name}" for name in params), kit.call(params=params), kit.DEV, None)
    assert len(orjson.dumps(held["values"])) < inputs.WHOLE * 1.1
    assert len(held["values"]) + len(held["left"]) == 30
    assert held["left"]


def test_a_whole_that_is_kept_holds_its_parts(kit):
    held = inputs.facts(("call.params", "call.params.a", "call.params.a.b"), kit.call(params={"a": {"b": 1}}), kit.DEV, None)
    assert held["values"] == {"call.params": {"a": {"b": 1}}}


def test_parts_are_kept_where_the_whole_is_too_large(kit):
    held = inputs.facts(("call.params", "call.params.a"), kit.call(params={"a": 1, "b": "x" * 5000}), kit.DEV, None)
    assert held == {"values": {"call.params.a": 1}, "absent": [], "left": ["call.params"]}


def test_what_stands_in_the_way_of_a_path_is_kept_in_its_place(kit):
    held = inputs.facts(("call.params.a.b", "call.params.c.d"), kit.call(params={"a": 5}), kit.DEV, None)
    assert held == {"values": {"call.params.a": 5}, "absent": ["call.params.c"], "left": []}


@pytest.mark.parametrize(("args", "values"), [({"path": "/srv"}, {"call.args.path": "/srv"}), (None, {"call.args": None})])
def test_of_a_proposed_tool_its_arguments_are_kept_also_that_they_are_unreadable(kit, args, values):
    assert inputs.facts(("call.args.path",), kit.call(tool=Tool("rm", args=args)), kit.DEV, None)["values"] == values


def test_a_call_that_is_no_tool_has_no_arguments_to_keep(kit):
    assert inputs.facts(("call.args.path", "call.tool.kind"), kit.call(), kit.DEV, None) == {"values": {}, "absent": [], "left": []}


# ---------------------------------------------------------------- sealed


def opened(private, decision, snapshot, held):
    return orjson.loads(sealing.Opener(private).open(held["sealed"], id=decision.id, snapshot=snapshot.digest))


def test_the_whole_call_is_sealed_and_nothing_of_it_shows(kit, snapshot):
    private, public = sealing.make()
    made = kit.call(params={"n": 2, "note": "SECRET"}, body={"n": 2, "messages": ["SECRET"]}, bytes=9)
    decision = kit.asked(snapshot, made)
    held = kept.Sealed(sealing.Sealer(public)).keep(snapshot, decision)
    assert set(held) == {"sealed", "key"}
    assert "SECRET" not in held["sealed"]
    values = opened(private, decision, snapshot, held)["values"]
    assert (values["call.body"], values["call.params"]) == ({"n": 2, "messages": ["SECRET"]}, {"n": 2, "note": "SECRET"})
    assert values["principal.claims"] == {"mfa": True, "level": 2}


def test_the_same_call_is_never_sealed_to_the_same_text(kit, snapshot):
    sealed, decision = kept.Sealed(sealing.Sealer(sealing.make()[1])), kit.asked(snapshot)
    assert sealed.keep(snapshot, decision) != sealed.keep(snapshot, decision)


def test_a_body_over_the_bound_is_left_out_and_named(kit, snapshot):
    private, public = sealing.make()
    decision = kit.asked(snapshot, kit.call(body={"text": "x" * (kept.BODY + 1)}, params={"n": 1}, bytes=9))
    held = opened(private, decision, snapshot, kept.Sealed(sealing.Sealer(public)).keep(snapshot, decision))
    assert (held["left"], held["values"]["call.params"]) == (["call.body"], {"n": 1})
    assert "call.body" not in held["values"]


def test_a_claim_that_is_no_json_is_named_and_the_rest_is_sealed(kit, snapshot):
    private, public = sealing.make()
    decision = kit.asked(snapshot, kit.call(params={"n": 1}, bytes=9), Principal.of("user:x", claims={"odd": 2**70}))
    held = opened(private, decision, snapshot, kept.Sealed(sealing.Sealer(public)).keep(snapshot, decision))
    assert (held["left"], held["values"]["call.params"]) == (["principal.claims"], {"n": 1})


@pytest.mark.parametrize("changed", ["id", "snapshot", "text", "key"])
def test_a_sealed_text_opens_in_its_place_with_its_key_alone(changed):
    private, public = sealing.make()
    text = sealing.Sealer(public).seal(b"plain", id="d", snapshot="s")
    assert sealing.Opener(private).open(text, id="d", snapshot="s") == b"plain"
    opener = sealing.Opener(sealing.make()[0] if changed == "key" else private)
    bent = text[:40] + ("A" if text[40] != "A" else "B") + text[41:] if changed == "text" else text
    with pytest.raises(BadRecord):
        opener.open(bent, id="x" if changed == "id" else "d", snapshot="x" if changed == "snapshot" else "s")


def test_both_halves_of_a_pair_are_called_the_same():
    private, public = sealing.make()
    assert sealing.Sealer(public).key == sealing.Opener(private).key


# ---------------------------------------------------------------- opening


def test_names_and_counts_need_no_keeper():
    assert open_keeper(Records()) is None
    assert isinstance(open_keeper(Records(inputs="facts")), kept.Facts)


def test_a_public_key_may_stand_in_the_document_or_in_a_file(tmp_path):
    _, public = sealing.make()
    (tmp_path / "k.pub").write_bytes(public)
    for told in (public.decode(), str(tmp_path / "k.pub")):
        assert isinstance(open_keeper(Records(inputs="sealed", seal=Seal(public_key=told))), kept.Sealed)


@pytest.mark.parametrize("told", ["nowhere.pub", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", sealing.make()[0].decode()])
def test_what_is_no_public_key_stops_the_start(told):
    with pytest.raises(ConfigError, match=r"records\.seal"):
        open_keeper(Records(inputs="sealed", seal=Seal(public_key=told)))


def test_a_key_of_another_kind_stops_the_start(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigError, match="X25519"):
        open_keeper(Records(inputs="sealed", seal=Seal(public_key=other)))
