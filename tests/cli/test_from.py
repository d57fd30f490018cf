"""`sidecar test --from DECISION`: a recorded decision becomes a Test document that passes, or says what was not kept."""

from pathlib import Path

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.evaluate import inputs
from sidecar.telemetry import kept, record, sealing
from sidecar.testing import document, write
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

NOW = 1_790_000_000.0
RULES = [
    {"name": "all", "effect": "allow"},
    {"name": "hot", "effect": "deny", "when": "call.params.?temperature.orValue(0.0) > 1.5"},
    {"name": "short", "effect": "require", "then": {"label": ["seen"]}},
]


@pytest.fixture
def layer(kit, tmp_path):
    return str(write(tmp_path / "p", kit.upstream(), document("Policy", "p", match={"operation": ["chat"]}, rules=RULES)))


@pytest.fixture
def written(kit, layer, tmp_path):
    """`written(keep)`: the records of a cool call (d_0) and a hot one (d_1)."""

    def made(keep, sealer=None):
        snapshot = compiled(read_layers([layer]), {}, NOW).snapshot
        lines = []
        for index, temperature in enumerate((0.2, 2.0)):
            call = kit.call(params={"temperature": temperature}, body={"model": "gpt-4o", "messages": [], "temperature": temperature}, bytes=9)
            decision = kit.replace(kit.asked(snapshot, call), id=f"d_{index}", now=NOW + index)
            held = inputs.facts(inputs.wanted(snapshot, decision.call, kit.DEV), decision.call, kit.DEV, None) if keep == "facts" else None
            held = kept.Sealed(sealer).keep(snapshot, decision) if sealer is not None else held
            lines.append(record.Writer().line(decision, snapshot=snapshot.digest, request="r", inputs=held))
        path = tmp_path / "decisions.jsonl"
        path.write_bytes(b"\n".join([*lines, b""]))
        return str(path)

    return made


def ran(layer, capsys, text):
    """The directory with this test in it: what `sidecar test` says."""
    Path(layer, "remade.yaml").write_text(text, encoding="utf-8")
    code = main(["test", "-c", layer])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("case", [("d_0", "allow", "p/all"), ("d_1", "deny", "p/hot")])
def test_what_was_recorded_is_expected_again(layer, written, capsys, case):
    decision, effect, by = case
    assert main(["test", "-c", layer, "--from", decision, "--records", written("facts")]) == exits.OK
    said = capsys.readouterr()
    assert (f"effect: {effect}" in said.out, f"by: {by}" in said.out, said.err) == (True, True, "")
    assert ran(layer, capsys, said.out)[0] == exits.OK


def test_the_test_fails_once_the_rule_is_gone(kit, layer, written, capsys, tmp_path):
    main(["test", "-c", layer, "--from", "d_1", "--records", written("facts")])
    text = capsys.readouterr().out
    write(tmp_path / "p", kit.upstream(), document("Policy", "p", match={"operation": ["chat"]}, rules=[*RULES[:1], {**RULES[1], "when": "call.tokens > 9"}]))
    code, out = ran(layer, capsys, text)
    assert code == exits.FINDINGS
    assert "expected deny, got allow by `p/all`" in out


def test_what_was_owed_is_expected(layer, written, capsys):
    main(["test", "-c", layer, "--from", "d_0", "--records", written("facts")])
    assert "obligations: {label: [seen]}" in capsys.readouterr().out


def test_documents_that_decide_otherwise_by_now_are_told(kit, layer, written, capsys, tmp_path):
    records = written("facts")
    write(tmp_path / "p", kit.upstream(), document("Policy", "p", match={"operation": ["chat"]}, rules=RULES[:1]))
    assert main(["test", "-c", layer, "--from", "d_1", "--records", records]) == exits.OK
    assert capsys.readouterr().err == "these documents decide otherwise by now\n"


def test_what_was_not_kept_is_told(layer, written, capsys):
    assert main(["test", "-c", layer, "--from", "d_1", "--records", written("tuple")]) == exits.UNDECIDABLE
    said = capsys.readouterr()
    assert "call.params.temperature" in said.err
    assert said.out.startswith("apiVersion: sidecar.dev/v1\nkind: Test\nmetadata: {name: from-d_1}\n")


def test_a_sealed_body_is_read_by_its_dialect_again(layer, written, capsys, tmp_path):
    private, public = sealing.make()
    (tmp_path / "key.pem").write_bytes(private)
    records = written("sealed", sealing.Sealer(public))
    assert main(["test", "-c", layer, "--from", "d_1", "--records", records]) == exits.UNDECIDABLE
    capsys.readouterr()
    assert main(["test", "-c", layer, "--from", "d_1", "--records", records, "--key", str(tmp_path / "key.pem")]) == exits.OK
    text = capsys.readouterr().out
    assert "dialect: openai_chat" in text
    assert ran(layer, capsys, text)[0] == exits.OK


def test_a_decision_that_is_not_there_is_told(layer, written, capsys):
    assert main(["test", "-c", layer, "--from", "d_9", "--records", written("facts")]) == exits.USAGE
    assert capsys.readouterr().err.startswith("`d_9` makes no test: it is not in ")
    assert main(["test", "-c", layer, "--from", "d_9", "--records", "nowhere.jsonl"]) == exits.USAGE
    assert "cannot read `nowhere.jsonl`" in capsys.readouterr().err
