"""Whatever bytes come: `check` never raises, says something or loads, and points inside the file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.compiler import compile_loaded
from sidecar.config.diagnostics import FORMATS, has_errors
from sidecar.config.load import load
from sidecar.config.source import BREAK
from sidecar.workbench.check import check

HOUSE = Path(__file__).parents[2]
NOW = 1_793_527_200.0
POLICIES = {str(file.relative_to(HOUSE)): file.read_bytes() for file in sorted(HOUSE.glob("policies/*/*.yaml"))}
CASES = {str(file.relative_to(HOUSE)): file.read_bytes() for file in sorted(HOUSE.glob("tests/diagnostics/*/bad.yaml")) if file.stat().st_size < 5000}
HOSTILE = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", "\u2028".encode(), "\u202e".encode(), b"\t", b"---\n", b"...\n", b"%YAML 1.1\n", b"&a ", b"*a ", b"!!int ",
    b"<<: ", b"? ", b"- ", b": ", b"{", b"}", b"[", b"]", b"'", b'"', b"|\n", b">\n", b"#", b"~", b"null", b"true", b"9" * 5000, b"1e999", b"-0", b"0x1F", b"12:30", b"2027-02-31",
    b"2027-01-31T00:00:00+99:99", b"${HOME}", b"${", b"\\", b"\\u0000", b"***", b"**", b"/", b"(" * 200, b"!(" * 60, b"a.b" * 50, b"1/0", b".matches('(')", b"has(", b"[1].map(x, x)",
    b"variables.a", b"principal.claims.x", b"reply.tokens", b"{a: b, a: c}", b"http://[", b"key:", b"user:\xd0\xb0", b"\x85", b"\xc2\x85", b"x" * 3000,
]  # fmt: skip


@st.composite
def damaged(draw, files):
    """A real file with a few pieces cut, doubled, swapped or replaced."""
    data = draw(st.sampled_from(sorted(files.values())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=6), st.just(b""), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


@st.composite
def spliced(draw, files):
    """A value or a line of one file in the place of one of another."""
    lines = draw(st.sampled_from(sorted(files.values()))).split(b"\n")
    others = draw(st.sampled_from(sorted(files.values()))).split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        here, there = draw(st.integers(0, len(lines) - 1)), draw(st.sampled_from(others))
        if draw(st.booleans()) and b":" in lines[here] and b":" in there:
            lines[here] = lines[here].partition(b":")[0] + b":" + there.partition(b":")[2]
        else:
            lines[here:here] = [there]
    return b"\n".join(lines)


def holds(*files):
    """The promise, of one layer of files."""
    layer = ("base", tuple((f"{index}.yaml", data) for index, data in enumerate(files)))
    loaded = load([layer], {}, NOW)
    compilation = compile_loaded(loaded, now=NOW)
    said = (*loaded.diagnostics, *compilation.diagnostics)
    assert (compilation.snapshot is None) is has_errors(said), "either a snapshot, or an error that says why there is none"
    findings = check([layer], {}, NOW)
    assert has_errors(findings.diagnostics) is has_errors(said)
    for item in findings.diagnostics:
        inside(item, {f"base/{name}": data for name, data in layer[1]})
    for render in FORMATS.values():
        render(findings.diagnostics, False)


def inside(item, files):
    """A finding lies in its file, on its line, and shows that line."""
    place = item.position
    if not place.line:
        assert place.file in {*files, "base"}
        return
    lines = BREAK.split(files[place.file].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
    assert 1 <= place.line <= len(lines)
    assert 1 <= place.column <= len(lines[place.line - 1]) + 1
    assert item.end_column <= len(lines[place.line - 1]) + 1
    assert len(item.source_line) <= len(lines[place.line - 1])


SLOW = settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(damaged(POLICIES))
def test_no_damage_to_a_policy_raises_or_loads_in_part(data):
    holds(data)


@QUICK
@given(damaged(CASES))
def test_no_damage_to_what_is_wrong_already_raises(data):
    holds(data)


@QUICK
@given(spliced(POLICIES | CASES))
def test_no_mixture_of_documents_raises(data):
    holds(data)


@QUICK
@given(st.lists(st.sampled_from(sorted({**POLICIES, **CASES}.values())), min_size=2, max_size=4))
def test_no_company_of_files_raises(files):
    holds(*files)


@QUICK
@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    holds(data)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_hold_the_promise_too(name):
    holds(CASES[name])


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("strategy", [damaged(POLICIES), damaged(CASES), spliced(POLICIES | CASES)], ids=["policies", "cases", "mixtures"])
def test_the_long_run(strategy):
    @SLOW
    @given(strategy)
    def run(data):
        holds(data)

    run()
