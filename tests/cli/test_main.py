"""The table of commands, and that each starts fast."""

import argparse
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from sidecar.cli import exits
from sidecar.cli.main import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main(["--help"]) == exits.OK
    shown = capsys.readouterr().out
    for name, line in COMMANDS.items():
        assert f"  {name} " in shown
        assert line.help in shown


def test_without_a_command_the_usage_is_shown(capsys):
    assert main([]) == exits.USAGE
    assert capsys.readouterr().out.startswith("usage: sidecar COMMAND")


def test_an_unknown_command_suggests_the_near_one(capsys):
    assert main(["chekc"]) == exits.USAGE
    assert "no command `chekc`, did you mean `check`?" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["check", "--nope"])
    assert caught.value.code == exits.USAGE
    assert "--nope" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    assert main(["--version"]) == exits.OK
    assert capsys.readouterr().out.startswith("sidecar ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_of_the_table_is_a_command(name):
    if find_spec(COMMANDS[name].module) is None:
        pytest.fail(f"{COMMANDS[name].module} is not there")
    module = import_module(COMMANDS[name].module)
    module.configure(argparse.ArgumentParser(prog=name))
    assert callable(module.run)


def test_nothing_of_the_server_is_imported_to_show_help_or_make_a_key():
    code = "import sys; from sidecar.cli.main import main; main(sys.argv[1:]); print(sorted({'aiohttp', 'asyncio', 'yaml', 'opentelemetry', 'jsonschema'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_check_with_mistakes_imports_no_server(tmp_path):
    (tmp_path / "a.yaml").write_text("kind: Policy\n")
    code = "import sys; from sidecar.cli.main import main; main(sys.argv[1:]); print(sorted({'aiohttp', 'asyncio', 'opentelemetry', 'jsonschema'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, "check", "-c", str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
