"""`sidecar suggest`: from a sidecar that blocks nothing to one that allows what was seen."""

import json
import re
from pathlib import Path

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.telemetry import record

SETTINGS = "metadata: {name: quickstart}\nspec:\n"


def address(process):
    return re.search(r"http://127\.0\.0\.1:\d+", process.banner[0])[0]


@pytest.fixture
def lines(kit, tmp_path):
    """A record file as a platform in `mode: audit` writes it."""
    snapshot = kit.built(kit.document("Settings", "s", mode="audit"))
    file = tmp_path / "decisions.jsonl"
    told = [record.Writer().line(kit.asked(snapshot, kit.call(name), kit.DEV), mode="audit") for name in ("gpt-4o", "gpt-4o-mini")]
    file.write_bytes(b"\n".join(told) + b"\n")
    Path(f"{file}.1").write_bytes(told[0] + b"\n")
    return file


def test_what_a_sidecar_recorded_in_audit_becomes_what_it_enforces(serve, quickstart, state, post, capsys):
    (quickstart / "policy.yaml").unlink()
    (quickstart / "tests.yaml").unlink()
    settings = quickstart / "sidecar.yaml"
    settings.write_text(settings.read_text().replace(SETTINGS, f"{SETTINGS}  mode: audit\n"))
    process = serve("-c", quickstart, "--local-key")
    base = address(process)
    key = {"authorization": f"Bearer {(state / 'local.key').read_text().strip()}"}
    body = {"model": "smart", "messages": [{"role": "user", "content": "Hello"}]}
    assert post(f"{base}/v1/chat/completions", key, body)[0] == 200
    assert process.stop() == 0
    assert main(["suggest", str(state / "decisions.jsonl"), "-c", str(quickstart), "-o", str(quickstart)]) == exits.OK
    told = capsys.readouterr()
    assert "1 role for 1 call of 1 caller; 0 left out" in told.err
    assert "3 of its tests pass, 0 fail" in told.err
    assert 'local: {allow: ["llm:chat:gpt-4o"]}' in (quickstart / "suggested.yaml").read_text()
    settings.write_text(settings.read_text().replace("  mode: audit\n", ""))
    assert main(["check", "-c", str(quickstart), "--strict"]) == exits.OK
    assert main(["test", "-c", str(quickstart)]) == exits.OK
    assert main(["fmt", "--check", str(quickstart)]) == exits.OK
    process = serve("-c", quickstart, "--local-key")
    base = address(process)
    assert [post(f"{base}/v1/chat/completions", key, {**body, "model": name})[0] for name in ("smart", "gpt-4o-mini")] == [200, 403]


def test_documents_go_to_standard_output_and_rotated_files_are_read(lines, capsys):
    assert main(["suggest", str(lines)]) == exits.OK
    told = capsys.readouterr()
    assert "# 3 calls, 1 caller" in told.out
    assert "\n---\n" in told.out
    assert told.err == "1 role for 3 calls of 1 caller; 0 left out\n"


def test_nothing_is_overwritten(lines, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "suggested-tests.yaml").write_text("mine")
    assert main(["suggest", str(lines), "-o", str(tmp_path / "out")]) == exits.USAGE
    assert "is there already; nothing was written" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["suggested-tests.yaml"]


def test_nothing_to_suggest_is_told_with_the_reasons(tmp_path, capsys):
    (tmp_path / "r.jsonl").write_text(json.dumps({"v": 1, "type": "decision", "id": "x", "now": 1.0, "effect": "deny", "principal": None}) + "\n")
    assert main(["suggest", str(tmp_path / "r.jsonl")]) == exits.FINDINGS
    told = capsys.readouterr().err
    assert "nothing to suggest: 1 line" in told
    assert "1 line by callers that are not known" in told


def test_what_cannot_be_read_or_used_is_told(lines, tmp_path, capsys):
    assert main(["suggest", str(tmp_path / "nothing")]) == exits.USAGE
    assert "cannot read" in capsys.readouterr().err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.yaml").write_text("kind: [\n")
    assert main(["suggest", str(lines), "-c", str(tmp_path / "bad")]) == exits.BAD_CONFIGURATION
    with pytest.raises(SystemExit) as left:
        main(["suggest", str(lines), "--min-count", "0"])
    assert left.value.code == exits.USAGE


def test_a_suggestion_that_does_not_hold_beside_the_documents_is_told(lines, tmp_path, capsys):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.yaml").write_text(
        "apiVersion: sidecar.dev/v1\nkind: Identity\nmetadata: {name: i}\nspec: {methods: [{apiKey: {keys: []}}]}\n---\n"
        'apiVersion: sidecar.dev/v1\nkind: Upstream\nmetadata: {name: openai}\nspec: {protocol: llm, url: "echo:", models: [{name: gpt-4o}, {name: gpt-4o-mini}]}\n---\n'
        "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: p}\nspec: {rules: [{name: all, effect: allow}]}\n"
    )
    assert main(["suggest", str(lines), "-c", str(tmp_path / "p")]) == exits.FINDINGS
    assert "FAIL suggested: stranger" in capsys.readouterr().err
