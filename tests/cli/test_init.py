"""`sidecar init`: what it writes is good, and it overwrites nothing."""

import json
import re

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.cli.starters import LATER, STARTERS
from sidecar.config.schema import schema


@pytest.mark.parametrize("kind", STARTERS)
def test_a_starter_passes_check_and_its_own_tests(kind, tmp_path):
    directory = str(tmp_path / "new" / "policies")
    assert main(["init", kind, directory]) == exits.OK
    assert main(["check", "-c", directory, "--strict"]) == exits.OK
    assert main(["test", "-c", directory]) == exits.OK
    assert main(["fmt", "--check", directory]) == exits.OK


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "policy.yaml").write_text("mine")
    assert main(["init", "llm", str(tmp_path)]) == exits.USAGE
    assert "nothing was written" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["policy.yaml"]
    assert (tmp_path / "policy.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["init", "llm", str(tmp_path / "file" / "below")]) == exits.USAGE
    assert "cannot write" in capsys.readouterr().err


def test_a_starter_serves(serve, tmp_path):
    assert main(["init", "llm", str(tmp_path / "p")]) == exits.OK
    platform = tmp_path / "p" / "platform.yaml"
    platform.write_text(re.sub(r"port: 410\d", "port: 0", platform.read_text()).replace("\n  records", "\n  admin: {port: 0}\n  health: {port: 0}\n  records"))
    assert "http://127.0.0.1:" in serve("-c", tmp_path / "p", "--local-key").banner[0]


def test_every_rule_of_a_starter_is_hit_and_missed_by_its_tests(tmp_path):
    text = "".join(STARTERS["llm"].values())
    rules = re.findall(r"^    - name: (\S+)", text, re.MULTILINE)
    assert rules == ["engineers", "short-answers", "nothing-destructive"]
    for rule in rules:
        assert re.search(rf"by: \[\w+/{rule}\]", text), rule


@pytest.mark.parametrize("kind", STARTERS)
def test_editors_find_the_schema_beside_the_documents(kind, tmp_path):
    assert main(["init", kind, str(tmp_path)]) == exits.OK
    for file in tmp_path.glob("*.yaml"):
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())[1]
        assert json.loads((tmp_path / named).read_text()) == schema()


def test_what_comes_next_is_told(tmp_path, capsys):
    assert main(["init", "llm", str(tmp_path / "p")]) == exits.OK
    told = capsys.readouterr().out
    assert [f"sidecar {command} -c {tmp_path}/p" in told for command in ("check", "test", "run")] == [True] * 3


@pytest.mark.parametrize("kind", LATER)
def test_a_kind_of_a_later_release_says_so(kind, tmp_path, capsys):
    assert main(["init", kind, str(tmp_path)]) == exits.USAGE
    assert "not built in this release" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_nobody_knows_is_told_with_what_there_is(tmp_path, capsys):
    assert main(["init", "lm", str(tmp_path)]) == exits.USAGE
    assert capsys.readouterr().err == "no starter is called `lm`, did you mean `llm`?\n"
    assert main(["init", "pizza", str(tmp_path)]) == exits.USAGE
    assert capsys.readouterr().err == "no starter is called `pizza`; there is: llm\n"
