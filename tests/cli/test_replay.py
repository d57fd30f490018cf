"""`sidecar replay` and `sidecar diff`: exit codes, what is printed, which files are read."""

import json

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.evaluate import inputs
from sidecar.telemetry import kept, record, sealing
from sidecar.testing import document, write
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

NOW = 1_790_000_000.0


def policy(hot="1.5", name="p", effect="deny"):
    rules = [{"name": "all", "effect": "allow"}, {"name": "hot", "effect": effect, "when": f"call.params.?temperature.orValue(0.0) > {hot}"}]
    return document("Policy", name, match={"operation": ["*"]}, rules=rules)


@pytest.fixture
def layer(kit, tmp_path):
    """`layer(name, *documents)`: a directory."""

    def made(name, *documents):
        return str(write(tmp_path / name, kit.upstream(), *documents))

    return made


@pytest.fixture
def written(kit, tmp_path):
    """`written(directory)`: the records of three calls, cool, warm and hot, and a checkpoint."""

    def made(directory, name="decisions.jsonl", *, keep="facts", sealer=None):
        snapshot = compiled(read_layers([directory]), {}, NOW).snapshot
        lines = []
        for index, temperature in enumerate((0.2, 1.2, 2.0)):
            call = kit.call(params={"temperature": temperature}, bytes=9)
            decision = kit.replace(kit.asked(snapshot, call), id=f"d_{index}", now=NOW + index)
            held = inputs.facts(inputs.wanted(snapshot, decision.call, kit.DEV), decision.call, kit.DEV, None) if keep == "facts" else None
            held = kept.Sealed(sealer).keep(snapshot, decision) if sealer is not None else held
            lines.append(record.Writer().line(decision, snapshot=snapshot.digest, request="r", inputs=held))
        path = tmp_path / name
        path.write_bytes(b"\n".join([*lines, b'{"v":1,"type":"checkpoint"}', b""]))
        return str(path)

    return made


def test_the_same_documents_give_the_same_decisions(layer, written, capsys):
    old = layer("old", policy())
    assert main(["replay", written(old), "-c", old]) == exits.OK
    assert capsys.readouterr().out.startswith(
        "3 decisions: 0 newly denied, 0 newly allowed, 0 by other rules, 0 with other obligations, 0 undecidable, 3 the same\n"
    )


def test_an_edited_rule_is_named_with_its_places(layer, written, capsys):
    old, new = layer("old", policy()), layer("new", policy("1.0"))
    assert main(["replay", written(old), "-c", new]) == exits.FINDINGS
    out = capsys.readouterr().out
    assert "newly denied 1: p/hot\n" in out
    assert f"p/hot: {old}/all.yaml:" in out
    assert f" -> {new}/all.yaml:" in out
    assert "\n    d_1\n" in out
    assert "3 were recorded under another configuration than this" in out


def test_as_json_the_report_is_for_machines(layer, written, capsys):
    old, new = layer("old", policy()), layer("new", policy("1.0"))
    main(["replay", written(old), "-c", new, "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"newly_denied": 1, "newly_allowed": 0, "rules": 0, "obligations": 0, "undecidable": 0, "same": 2}
    assert (report["groups"][0]["rules"], report["groups"][0]["examples"]) == (["p/hot"], ["d_1"])


def test_what_was_not_kept_is_undecidable_and_never_the_same(layer, written, capsys):
    old = layer("old", policy())
    assert main(["replay", written(old, keep="tuple"), "-c", old]) == exits.UNDECIDABLE
    assert "undecidable 3: call.params.temperature" in capsys.readouterr().out


def test_sealed_records_open_with_the_private_key_alone(layer, written, tmp_path, capsys):
    assert main(["keys", "seal", str(tmp_path / "seal.pem")]) == exits.OK
    assert f'publicKey: "{tmp_path}/seal.pem.pub"' in capsys.readouterr().out.replace("'", '"')
    old = layer("old", policy())
    path = written(old, sealer=sealing.Sealer((tmp_path / "seal.pem.pub").read_bytes()))
    assert main(["replay", path, "-c", old, "--key", str(tmp_path / "seal.pem")]) == exits.OK
    assert main(["replay", path, "-c", old]) == exits.UNDECIDABLE
    assert "3 are sealed, and there is no key that opens them" in capsys.readouterr().out
    assert main(["replay", path, "-c", old, "--key", str(tmp_path / "seal.pem.pub")]) == exits.USAGE


def test_the_private_key_is_for_its_owner_and_no_key_is_written_over(tmp_path, capsys):
    path = tmp_path / "seal.pem"
    assert main(["keys", "seal", str(path)]) == exits.OK
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert main(["keys", "seal", str(path)]) == exits.USAGE
    assert path.read_bytes() == before
    assert "seal.pem" in capsys.readouterr().err


def test_rotated_files_are_read_before_the_one_they_were_rotated_from(layer, written, capsys):
    old = layer("old", policy())
    written(old, "decisions.jsonl.1")
    assert main(["replay", written(old), "-c", old]) == exits.OK
    assert capsys.readouterr().out.startswith("6 decisions")


def test_a_line_that_cannot_be_read_is_told_and_is_not_the_same(layer, written, capsys):
    old = layer("old", policy())
    path = written(old)
    with open(path, "a") as file:  # noqa: PTH123  (a name is what the command gets)
        file.write("{\n")
    assert main(["replay", path, "-c", old]) == exits.UNDECIDABLE
    told = capsys.readouterr()
    assert "1 lines can't be read" in told.out
    assert told.err == f"{path}:5: this line is no JSON\n"


@pytest.mark.parametrize(("option", "count"), [("--since", 2), ("--until", 1)])
def test_a_window_of_time_is_taken(layer, written, capsys, option, count):
    old = layer("old", policy())
    assert main(["replay", written(old), "-c", old, option, "2026-09-21T14:13:21Z"]) == exits.OK
    assert capsys.readouterr().out.startswith(f"{count} decisions")


def test_no_decisions_are_no_proof(layer, written, capsys):
    old = layer("old", policy())
    assert main(["replay", written(old), "-c", old, "--until", "2020-01-01"]) == exits.USAGE
    assert "no decisions" in capsys.readouterr().err


def test_bad_documents_and_files_that_are_not_there_are_told(layer, written, tmp_path, capsys):
    old = layer("old", policy())
    bad = layer("bad", policy(effect="maybe"))
    assert main(["replay", written(old), "-c", bad]) == exits.BAD_CONFIGURATION
    assert main(["diff", old, bad]) == exits.BAD_CONFIGURATION
    assert main(["replay", str(tmp_path / "nowhere"), "-c", old]) == exits.USAGE
    with pytest.raises(SystemExit) as caught:
        main(["replay", written(old), "-c", old, "--since", "soon"])
    assert caught.value.code == exits.USAGE
    assert "soon" in capsys.readouterr().err


# ---------------------------------------------------------------- diff


def test_two_configurations_are_compared_on_recorded_traffic(layer, written, capsys):
    old, new = layer("old", policy()), layer("new", policy("1.0"))
    path = written(new)
    assert main(["diff", old, new, "--records", path]) == exits.FINDINGS
    assert "newly denied 1: p/hot\n" in capsys.readouterr().out
    assert main(["diff", new, old, "--records", path]) == exits.FINDINGS
    assert "newly allowed 1: p/hot\n" in capsys.readouterr().out
    assert main(["diff", new, new, "--records", path]) == exits.OK
    assert main(["diff", new, old, "--records", written(new, keep="tuple")]) == exits.UNDECIDABLE


def test_layers_are_joined_by_commas(layer, written, kit, tmp_path, capsys):
    base = layer("base", policy())
    team = str(write(tmp_path / "team", document("Policy", "t", match={"operation": ["*"]}, rules=[{"name": "no", "effect": "deny"}])))
    assert main(["diff", base, f"{base},{team}", "--records", written(base)]) == exits.FINDINGS
    assert "newly denied 2: t/no" in capsys.readouterr().out
    assert main(["diff", base, f"{base},{team}"]) == exits.FINDINGS
    assert capsys.readouterr().out == f"added    Policy t/no (layer 2)  {team}/all.yaml:10\n"


def test_without_records_the_documents_are_compared(layer, kit, capsys):
    old = layer("old", policy(), policy(name="gone"))
    new = layer("new", policy("1.0"), document("Quota", "fresh", limits=[{"metric": "requests", "max": 1, "per": "1m"}]))
    assert main(["diff", old, new]) == exits.FINDINGS
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["removed", "Policy", "gone/all"],
        ["removed", "Policy", "gone/hot"],
        ["changed", "Policy", "p/hot"],
        ["added", "Quota", "fresh"],
    ]
    assert lines[2][-1] == "(when)"


def test_order_and_formatting_are_no_difference(layer, tmp_path, kit, capsys):
    old = layer("old", policy(), policy(name="b"))
    new = str(write(tmp_path / "new", policy(name="b"), policy(), kit.upstream()))
    (tmp_path / "new" / "all.yaml").write_text((tmp_path / "new" / "all.yaml").read_text().replace("effect: allow", "effect:   'allow'  # yes"))
    assert main(["diff", old, new]) == exits.OK
    assert capsys.readouterr().out == "the same documents\n"
    assert main(["diff", old, new, "--format", "json"]) == exits.OK
    assert json.loads(capsys.readouterr().out) == {"differences": []}


def test_what_all_rules_of_a_policy_share_is_told_of_each(layer, kit, capsys):
    before, after = policy(), policy()
    after["spec"]["match"]["operation"] = ["chat"]
    assert main(["diff", layer("old", before), layer("new", after), "--format", "json"]) == exits.FINDINGS
    found = json.loads(capsys.readouterr().out)["differences"]
    assert [(each["name"], each["fields"]) for each in found] == [("Policy p/all", ["policy.match"]), ("Policy p/hot", ["policy.match"])]
