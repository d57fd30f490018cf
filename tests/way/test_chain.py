"""What a sidecar wrote is verified by `sidecar records verify`, in a process of its own; every change to it is found."""

import subprocess
import sys

import pytest


async def chained(make_stage, ask, calls=4, **records):
    """The record file of a sidecar that took some calls and ended as it should."""
    made = {"sinks": [{"file": "decisions.jsonl", **records}]}
    async with make_stage(lambda stage: stage.documents(records=made)) as stage:
        for index in range(calls):
            await ask(stage, temperature=2.0 if index % 2 else 0.5)
    return stage.state / "decisions.jsonl"


def verify(path, *options):
    done = subprocess.run([sys.executable, "-m", "sidecar", "records", "verify", str(path), *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_what_a_sidecar_wrote_is_verified_to_its_signed_end(make_stage, ask):
    path = await chained(make_stage, ask)
    code, said = verify(path, "--strict")
    assert (code, said.splitlines()[-1]) == (0, "5 lines, 1 chains, nothing was changed")
    assert "closed, lines 0..4" in said


CHANGES = {
    "an edit": lambda rows: [rows[0].replace('"effect":"allow"', '"effect":"deny"', 1), *rows[1:]],
    "a line taken out": lambda rows: [rows[0], *rows[2:]],
    "two lines changed over": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
    "a line put in twice": lambda rows: [rows[0], rows[1], *rows[1:]],
    "the end cut off": lambda rows: rows[:-2],
    "the signature taken from elsewhere": lambda rows: [*rows[:-1], rows[-1].replace('"signature":"', '"signature":"A')],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_found(make_stage, ask, change):
    path = await chained(make_stage, ask)
    before = path.read_text()
    path.write_text("\n".join(CHANGES[change](before.splitlines())) + "\n")
    assert path.read_text() != before
    code, said = verify(path, "--strict")
    assert code == 1, said


async def test_a_rotated_log_is_one_chain_over_its_files(make_stage, ask):
    path = await chained(make_stage, ask, calls=12, maxSize="4KiB", keep=20)
    files = sorted(path.parent.glob("decisions.jsonl*"))
    assert len(files) > 2
    assert all(file.stat().st_size <= 4096 for file in files)
    code, said = verify(path, "--strict")
    assert (code, said.splitlines()[-1]) == (0, "13 lines, 1 chains, nothing was changed")
    files[-1].unlink()
    assert verify(path, "--strict")[0] == 1
