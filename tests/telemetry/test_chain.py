"""Chains, seals and what `verify` finds: every edit, deletion, insertion, reordering and truncation."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.cli import records as command
from sidecar.errors import BadRecord
from sidecar.telemetry.chain import Chain, checkpoint_line, digest, read_checkpoint
from sidecar.telemetry.record import parse
from sidecar.telemetry.seal import PRIVATE, PUBLIC, Seal, load_public
from sidecar.telemetry.verify import Walk, verify


@pytest.fixture(scope="module")
def seal(tmp_path_factory):
    made = Seal(tmp_path_factory.mktemp("state"))
    made.sign(Chain("x").checkpoint() or read_checkpoint(SIGNABLE))
    return made


SIGNABLE = {"chain": "x", "at": 0, "head": "0", "closing": False, "key": "", "signature": ""}


def write(chain, count, seal=None, *, closing=False):
    """`count` lines, then a checkpoint if there is a seal."""
    lines = []
    for number in range(count):
        lines.append(chain.link(b'{"v":1,"type":"decision","id":"d_%d"}' % number))
        chain.commit(lines[-1])
    if seal is not None:
        lines.append(chain.link(checkpoint_line(seal.sign(chain.checkpoint(closing=closing)))))
        chain.commit(lines[-1])
    return lines


def walk(lines, seal=None):
    key = load_public((seal._directory / PUBLIC).read_bytes()) if seal is not None else None
    made = Walk(key)
    made.file("f", lines)
    return made.report()


def test_each_line_names_the_hash_of_the_one_before():
    first, second = write(Chain("c"), 2)
    assert parse(second)["prev"] == digest(first)
    assert [parse(line)["seq"] for line in (first, second)] == [0, 1]
    assert first.endswith(b"}\n")


def test_a_line_that_was_not_written_leaves_no_gap():
    chain = Chain("c")
    chain.link(b'{"v":1,"lost":1}')
    assert walk(write(chain, 3)).ok


def test_a_closed_chain_is_closed_and_an_unfinished_one_is_open(seal):
    closed = walk(write(Chain("c"), 3, seal, closing=True), seal)
    assert (closed.ok, closed.chains["c"].state, closed.chains["c"].unsigned) == (True, "closed", 0)
    opened = walk(write(Chain("c"), 3, seal), seal)
    assert (opened.ok, opened.chains["c"].state, opened.chains["c"].unsigned) == (True, "open", 0)


def test_a_chain_whose_end_was_cut_off_is_open_and_not_broken(seal):
    lines = write(Chain("c"), 5, seal, closing=True)
    report = walk(lines[:3], seal)
    assert (report.ok, report.chains["c"].state, report.chains["c"].unsigned) == (True, "open", 3)


@pytest.mark.parametrize("signed", [True, False])
def test_an_edit_is_found_at_the_line_after(seal, signed):
    lines = write(Chain("c"), 5, seal if signed else None, closing=True)
    lines[2] = lines[2].replace(b"d_2", b"d_9")
    report = walk(lines, seal)
    assert [(problem.line, problem.message) for problem in report.problems] == [(4, "the line before this one was changed")]


def test_an_edit_of_the_last_line_before_a_checkpoint_is_found(seal):
    lines = write(Chain("c"), 5, seal, closing=True)
    lines[4] = lines[4].replace(b"d_4", b"d_9")
    assert not walk(lines, seal).ok


def test_a_chain_rewritten_from_an_edit_on_is_found_by_the_signature(seal):
    forged, honest = Chain("c"), write(Chain("c"), 4, seal, closing=True)
    lines = [line.replace(b"d_1", b"d_9") for line in write(Chain("c"), 4)]
    relinked = []
    for line in lines:
        body = line[: line.index(b',"chain"')] + b"}"
        relinked.append(forged.link(body))
        forged.commit(relinked[-1])
    point = read_checkpoint(parse(honest[-1]))
    relinked.append(forged.link(checkpoint_line(point)))
    assert "line 3 is not what was signed" in [problem.message for problem in walk(relinked, seal).problems]
    relinked[-1] = forged.link(checkpoint_line(point._replace(head=forged.head)))
    assert "the signature is not that of the key" in [problem.message for problem in walk(relinked, seal).problems]


def test_another_key_does_not_vouch(seal, tmp_path):
    lines = write(Chain("c"), 2, Seal(tmp_path), closing=True)
    assert "signed by another key" in walk(lines, seal).problems[0].message


changes = st.sampled_from(["edit", "delete", "insert", "swap"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(2, 8), changes, st.data())
def test_any_single_change_before_the_signed_end_is_found(seal, count, change, data):
    lines = write(Chain("c"), count, seal, closing=True)
    place = data.draw(st.integers(0, count - 1))
    if change == "edit":
        lines[place] = lines[place].replace(b'"id":"d_', b'"id":"e_')
    elif change == "delete":
        del lines[place]
    elif change == "insert":
        lines.insert(place, data.draw(st.sampled_from([lines[place], lines[0], b'{"v":1}\n', b"nothing\n"])))
    else:
        lines[place], lines[place - 1] = lines[place - 1], lines[place]
    report = walk(lines, seal)
    from_start = [strand.first for strand in report.chains.values()] == [0]
    assert not report.ok or not from_start  # the first line deleted looks like one that was rotated away, and is told as such


def test_chains_of_several_processes_in_one_file_are_told_apart(seal):
    one, two = write(Chain("a"), 3, seal, closing=True), write(Chain("b"), 3, seal, closing=True)
    report = walk([line for pair in zip(one, two, strict=True) for line in pair], seal)
    assert (report.ok, {strand.state for strand in report.chains.values()}) == (True, {"closed"})


def test_lines_after_the_closing_checkpoint_are_found(seal):
    chain = Chain("c")
    lines = write(chain, 2, seal, closing=True) + write(chain, 1)
    assert "after the closing checkpoint" in walk(lines, seal).problems[0].message


def test_memory_is_let_go_at_each_checkpoint(seal):
    chain = Chain("c")
    lines = list(itertools.chain.from_iterable(write(chain, 50, seal) for _ in range(4)))
    assert len(walk(lines, seal).chains["c"].hashes) == 1


@pytest.mark.parametrize("field", ["at", "head", "closing", "key", "signature"])
def test_a_checkpoint_that_lacks_a_field_is_refused(field):
    with pytest.raises(BadRecord):
        read_checkpoint({**SIGNABLE, field: None})


# ---------------------------------------------------------------- the key


def test_the_key_is_made_once_private_and_with_its_public_half(tmp_path):
    point = read_checkpoint(SIGNABLE)
    first, again = Seal(tmp_path / "state").sign(point), Seal(tmp_path / "state").sign(point)
    assert first == again
    assert (tmp_path / "state" / PRIVATE).stat().st_mode & 0o777 == 0o600
    assert load_public((tmp_path / "state" / PUBLIC).read_bytes())
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [PRIVATE, PUBLIC]


# ---------------------------------------------------------------- the command


def run(capsys, *arguments):
    import argparse

    parser = argparse.ArgumentParser()
    command.configure(parser)
    code = command.run(parser.parse_args(["verify", *map(str, arguments)]))
    return code, capsys.readouterr().out


def test_the_command_finds_rotated_files_and_the_key_beside_them(tmp_path, capsys):
    made = Seal(tmp_path)
    lines = write(Chain("c"), 9, made, closing=True)
    for name, part in (("r.jsonl.2", lines[:3]), ("r.jsonl.1", lines[3:6]), ("r.jsonl", lines[6:])):
        (tmp_path / name).write_bytes(b"".join(part))
    code, out = run(capsys, tmp_path / "r.jsonl", "--strict")
    assert (code, "chain c: closed, lines 0..9" in out, "nothing was changed" in out) == (0, True, True)


def test_the_command_names_file_and_line_of_a_change(tmp_path, capsys):
    lines = write(Chain("c"), 3, Seal(tmp_path), closing=True)
    (tmp_path / "r.jsonl").write_bytes(b"".join((lines[0], lines[2], lines[3])))
    code, out = run(capsys, tmp_path / "r.jsonl")
    assert code == 1
    assert f"{tmp_path}/r.jsonl:2: 1 line(s) before this one are missing (chain c)" in out


def test_the_command_says_what_nobody_vouches_for(tmp_path, capsys):
    (tmp_path / "r.jsonl").write_bytes(b"".join(write(Chain("c"), 3)))
    code, out = run(capsys, tmp_path / "r.jsonl")
    assert (code, "the last 3 are covered by no checkpoint" in out, "signatures were not checked" in out) == (0, True, True)
    assert run(capsys, tmp_path / "r.jsonl", "--strict")[0] == 1


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path, capsys):
    assert run(capsys, tmp_path / "none.jsonl")[0] == 2


def test_verify_reads_files_in_order(tmp_path):
    lines = write(Chain("c"), 4)
    for name, part in (("a", lines[:2]), ("b", lines[2:])):
        (tmp_path / name).write_bytes(b"".join(part))
    assert verify([tmp_path / "a", tmp_path / "b"]).ok
    assert not verify([tmp_path / "b", tmp_path / "a"]).ok
