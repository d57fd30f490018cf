"""`sidecar keys new`: the entry it prints admits the key it prints."""

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.config.load import load
from sidecar.credentials import keys

IDENTITY = "apiVersion: sidecar.dev/v1\nkind: Identity\nmetadata: {{name: x}}\nspec:\n  methods:\n    - apiKey:\n        keys:\n          {}\n"


def made(capsys, *options):
    assert main(["keys", "new", *options]) == exits.OK
    token, _, entry = capsys.readouterr().out.strip().split("\n")
    loaded = load([("", [("a", IDENTITY.format(entry).encode())])], {}, 1_793_527_200.0)
    assert loaded.diagnostics == ()
    return token, loaded.layers[0].documents[0].spec.methods[0].api_key.keys[0], entry


def test_the_entry_holds_the_hash_of_the_key_and_not_the_key(capsys):
    token, key, entry = made(capsys, "--id", "ci-bot", "--team", "build", "--group", "eng", "--group", "on:call", "--not-after", "2027-06-30")
    assert keys.looks_like(token)
    assert key.sha256 == keys.digest(token)
    assert (key.id, key.team, key.groups) == ("ci-bot", "build", ("eng", "on:call"))
    assert key.not_after == 1_814_400_000.0
    assert token not in entry


def test_no_two_keys_are_the_same(capsys):
    assert made(capsys)[0] != made(capsys)[0]


@pytest.mark.parametrize("options", [["--id", "a b"], ["--not-after", "soon"], ["--id", "a\nb"]])
def test_options_that_would_break_the_entry_are_refused(options):
    with pytest.raises(SystemExit) as caught:
        main(["keys", "new", *options])
    assert caught.value.code == exits.USAGE
