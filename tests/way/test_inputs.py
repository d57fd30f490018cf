"""Records that keep inputs, from a real process and real clients, and `sidecar replay` of the very file that was written."""

import json
import os
import subprocess
import sys

import openai
import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.telemetry import sealing
from sidecar.testing import document, write

CANARY = "zanzibar7"
CHAT = {"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": CANARY}]}
RM = {"type": "function", "function": {"name": "rm", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}}


def keeping(inputs, **more):
    return {"records": {"sinks": [{"file": "decisions.jsonl"}], "inputs": inputs, **more}}


def rules():
    """Conditions on arguments and on the end of a reply; the usual ones read a parameter."""
    out = {"name": "outside", "when": '!call.args.path.startsWith("/srv")', "effect": "deny"}
    late = {"name": "long", "when": 'reply.tokens > 5000 || reply.finish == "odd"', "effect": "deny", "buffer": True}
    return (
        document("Policy", "args", match={"protocol": ["llm"], "operation": ["tool_call"], "target": ["ls"]}, rules=[out]),
        document("Policy", "late", match={"protocol": ["llm"], "operation": ["chat"], "phase": "response"}, rules=[late]),
    )


async def talk(stage, ask):
    """Allowed and denied calls, a tool that is proposed, a stream, a quota that runs out, somebody unknown."""
    client = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens["dev"], max_retries=0)
    async with client:
        await client.chat.completions.create(**CHAT, temperature=0.5, user="someone")
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(**CHAT, temperature=2.0)
        async for _ in await client.chat.completions.create(**CHAT, stream=True):
            pass
        ls = {**RM, "function": {**RM["function"], "name": "ls"}}
        for path in ("/srv/a", "/etc"):
            await client.chat.completions.create(**{**CHAT, "messages": [{"role": "user", "content": f'call ls {{"path": "{path}"}}'}]}, tools=[ls])
        await client.embeddings.create(model="text-embedding-3-small", input=CANARY)
    for who in ("tiny", "tiny", "broke", "poor", "sk-nobody"):
        await ask(stage, who)
    await ask(stage, path="/v1/nope")


def replayed(stage, *more):
    return main(["replay", str(stage.state / "decisions.jsonl"), "-c", str(stage.directory), *more])


@pytest.fixture
def talked(make_stage, ask):
    """`await talked(inputs)`: what was decided and written; the sidecar has stopped."""

    async def made(inputs, **more):
        async with make_stage(lambda stage: [*stage.documents(**keeping(inputs, **more)), *rules()]) as stage:
            await talk(stage, ask)
        return stage

    return made


async def test_what_was_written_with_facts_is_decided_the_same_again(talked, capsys):
    stage = await talked("facts")
    assert replayed(stage, "--format", "json") == exits.OK
    report = json.loads(capsys.readouterr().out)
    rows = stage.records()
    assert report["decisions"] == report["counts"]["same"] == len(rows) >= 18
    assert report["settled"] == 2
    assert report["elsewhere"] == 0
    assert {row["call"]["operation"] for row in rows} >= {"chat", "tool_call", "embeddings", "unknown"}
    assert {row.get("phase", "") for row in rows} == {"", "response"}
    assert [row["effect"] for row in rows if row["call"]["operation"] == "tool_call"] == ["allow", "deny"]


async def test_an_edited_policy_is_told_by_the_rule_that_changes_something(talked, capsys):
    stage = await talked("facts")
    policies = stage.directory / "all.yaml"
    policies.write_text(policies.read_text().replace("orValue(0) > 1.5", "orValue(0) > 0.4"))
    assert replayed(stage) == exits.FINDINGS
    assert "newly denied 1: base/cool\n" in capsys.readouterr().out


async def test_an_edited_policy_about_arguments_is_told_too(talked, capsys):
    stage = await talked("facts")
    policies = stage.directory / "all.yaml"
    policies.write_text(policies.read_text().replace('startsWith("/srv")', 'startsWith("/etc")'))
    assert replayed(stage) == exits.FINDINGS
    out = capsys.readouterr().out
    assert "newly denied 1: args/outside\n" in out
    assert "newly allowed 1: args/outside\n" in out


async def test_with_names_and_counts_alone_what_parameters_decide_is_undecidable(talked, capsys):
    stage = await talked("tuple")
    assert not any("inputs" in row for row in stage.records())
    assert replayed(stage) == exits.UNDECIDABLE
    out = capsys.readouterr().out
    assert "call.params.temperature" in out
    assert "call.args.path" in out
    assert "reply.finish, reply.tokens" in out


async def test_no_prompt_no_credential_and_no_parameter_that_no_condition_reads_is_in_the_file(talked):
    stage = await talked("facts")
    text = (stage.state / "decisions.jsonl").read_text()
    assert '"call.params.temperature":0.5' in text
    for secret in (CANARY, "someone", *stage.tokens.values(), "upstream-secret"):
        assert secret not in text


async def test_sealed_records_are_decided_again_with_the_key_and_not_without(talked, tmp_path, capsys):
    private, public = sealing.make()
    (tmp_path / "seal.pem").write_bytes(private)
    stage = await talked("sealed", seal={"publicKey": public.decode()})
    text = (stage.state / "decisions.jsonl").read_text()
    assert CANARY not in text
    assert "temperature" not in text
    assert replayed(stage, "--key", str(tmp_path / "seal.pem")) == exits.OK
    assert replayed(stage) == exits.UNDECIDABLE
    assert "are sealed" in capsys.readouterr().out
    rows = [row for row in stage.records() if "inputs" in row]
    opener = sealing.Opener(private)
    plain = opener.open(rows[0]["inputs"]["sealed"], id=rows[0]["id"], snapshot=rows[0]["snapshot"])
    assert json.loads(plain)["values"]["call.body"]["messages"] == CHAT["messages"]


async def test_records_that_keep_inputs_verify_as_any_others(talked):
    stage = await talked("facts")
    assert main(["records", "verify", str(stage.state / "decisions.jsonl"), "--strict"]) == exits.OK


async def test_the_admin_port_shows_them_as_they_are(make_stage, ask, fetch, admin_of):
    async with make_stage(lambda stage: stage.documents(**keeping("facts"))) as stage:
        await ask(stage, temperature=0.5)
        answer = await fetch(stage, "admin", "/api/v1/decisions", headers=await admin_of(stage))
    assert answer.json["decisions"][0]["inputs"]["values"] == {"call.params.temperature": 0.5}


@pytest.mark.parametrize("key", ["nowhere.pub", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_public_key_that_is_none_stops_the_start_before_a_port_opens(tmp_path, key):
    settings = document(
        "Settings", "s", **keeping("sealed", seal={"publicKey": key}), **{name: {"host": "127.0.0.1", "port": 0} for name in ("listen", "admin", "health")}
    )
    directory = write(tmp_path / "c", settings)
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "run", "-c", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "SIDECAR_STATE": str(tmp_path / "state")},
    )
    assert done.returncode == exits.BAD_CONFIGURATION
    assert "records.seal" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "state").exists()


def _environ(tmp_path):
    import os

    return {**os.environ, "SIDECAR_STATE": str(tmp_path / "state")}


@pytest.mark.parametrize("stream", [False, True])
async def test_replies_that_no_rule_judged_are_undecidable_under_one_that_would(make_stage, ask, capsys, stream):
    async with make_stage(lambda stage: stage.documents(**keeping("facts"))) as stage:
        assert (await ask(stage, stream=stream)).status == 200
    assert replayed(stage) == exits.OK
    write(stage.directory, *rules()[1:], name="late.yaml")
    capsys.readouterr()
    assert replayed(stage) == exits.UNDECIDABLE
    assert "1 have replies that are not on record: response rules were not tried on them" in capsys.readouterr().out


async def test_a_verdict_tells_which_call_it_is_about(talked):
    rows = (await talked("tuple")).records()
    calls = {row["id"] for row in rows if "about" not in row}
    about = [row for row in rows if row.get("phase") or row["call"]["operation"] == "tool_call"]
    assert len(about) >= 6
    assert {row["about"] for row in about} <= calls
