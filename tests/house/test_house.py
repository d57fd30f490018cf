"""The rules of the house that no linter knows. Each test says which promise of the architecture it holds."""

import argparse
import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.cli import exits
from sidecar.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sidecar"
LONG = 400
"""Lines; a longer file says in its docstring why it is one."""
BOUNDARIES = {"live.py": 1, "server/listener.py": 4, "server/way.py": 1, "shadow.py": 2}
"""Where an exception that nobody foresaw may be held: every such place is named here, and says at the line which boundary it is."""
PURE = ("expr", "wire", "http1", "config", "compiler", "evaluate", "address.py", "call.py", "decision.py", "errors.py", "need.py", "principal.py", "segment.py", "value.py")  # fmt: skip
"""Import-linter keeps clocks, sockets and logs out of these by module; this keeps out what is a builtin or a method."""
IMPURE = frozenset({"open", "input", "print", "eval", "exec", "__import__", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"})


def parsed():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(parsed())


def calls(tree):
    return [(ast.unparse(node.func), node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def broad(handler):
    """Whether it catches everything and keeps it."""
    caught = [] if handler.type is None else handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    everything = not caught or {"Exception", "BaseException"} & {ast.unparse(each) for each in caught}
    last = handler.body[-1]
    return everything and not (isinstance(last, ast.Raise) and last.exc is None)


def test_only_the_evaluator_makes_a_permit():
    made = [(name, line) for name, tree in MODULES.items() for called, line in calls(tree) if called.rpartition(".")[2] == "Permit"]
    assert [name for name, _ in made] == ["evaluate/combine.py"], made
    aliased = [
        name for name, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, ast.alias) and node.name == "Permit" and node.asname is not None
    ]
    assert aliased == []


def test_what_nobody_foresaw_is_held_at_named_boundaries_alone():
    found = {}
    for name, tree in MODULES.items():
        held = sum(bool(broad(node)) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
        held += sum(called.endswith("suppress") and "Exception" in ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) for called in [ast.unparse(node.func)])  # fmt: skip
        if held:
            found[name] = held
    assert found == BOUNDARIES


def test_the_middle_calls_nothing_that_reads_the_world():
    found = [(name, called, line) for name, tree in MODULES.items() if name.startswith(PURE) for called, line in calls(tree) if called in IMPURE]
    assert found == []


def test_every_expression_of_the_product_is_checked():
    """`checked=False` is for the tests of the language and the tools of its development."""
    asked = [(name, node.value.lineno) for name, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "checked"]
    assert [(name, line) for name, line in asked if not name.startswith("expr/")] == []


def test_no_state_is_a_module_global():
    assert [name for name, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, ast.Global)] == []


def test_every_module_opens_with_what_it_is():
    assert [name for name, tree in MODULES.items() if tree.body and not ast.get_docstring(tree)] == []


def test_a_long_file_says_why_it_is_long():
    sizes = {name: len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) for name in MODULES}
    unexplained = [name for name, size in sizes.items() if size > LONG and "Longer than most files" not in (ast.get_docstring(MODULES[name]) or "")]
    assert unexplained == []


def test_the_version_is_told_once():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


# ---------------------------------------------------------------- commands

TESTS = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py"))}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_itself_and_for_each_option(name, capsys):
    assert COMMANDS[name].help
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == exits.OK
    assert COMMANDS[name].help in " ".join(capsys.readouterr().out.split())
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[name].module).configure(parser)
    assert [action.dest for action in parser._actions if not (action.help or isinstance(action, argparse._SubParsersAction))] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_run_by_a_test(name):
    asked = re.compile(rf'(main\(\[|sidecar\(|"sidecar", |"-m", "sidecar", |Process\(\[)"{name}"')
    assert [path.name for path, text in TESTS.items() if asked.search(text)], f"no test runs `sidecar {name}`"


# ---------------------------------------------------------------- policies

FOLDERS = sorted(folder for folder in (ROOT / "policies").iterdir() if list(folder.glob("*.yaml")))
"""The worked examples. The folders of `policies/library` are layers over a platform: tests/policies checks and runs them."""
LAYERS = sorted({file.parent for file in (ROOT / "policies").rglob("*.yaml")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_worked_example_checks_without_a_warning_and_its_tests_pass(folder, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = str(folder.relative_to(ROOT))
    assert main(["check", "-c", path, "--strict"]) == exits.OK, capsys.readouterr().out
    assert main(["test", "-c", path]) == exits.OK, capsys.readouterr().out


@pytest.mark.parametrize("folder", LAYERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_a_layer_of_policies_tells_editors_its_schema(folder):
    firsts = {file.name: file.read_text(encoding="utf-8").splitlines()[0] for file in folder.glob("*.yaml")}
    up = "../" * len(folder.relative_to(ROOT).parts)
    assert firsts == dict.fromkeys(firsts, f"# yaml-language-server: $schema={up}schemas/sidecar.json")


def test_the_embedded_quickstart_is_the_worked_example():
    assert (PACKAGE / "quickstart").resolve() == ROOT / "policies" / "quickstart"
