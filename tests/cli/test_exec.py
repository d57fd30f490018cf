"""`sidecar exec -- CMD`: the command reaches models through the gate alone, and its exit code is ours."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
AGENT = """
import openai, sys
client = openai.OpenAI()
print(client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]).choices[0].message.content)
try:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], max_tokens=100000)
except openai.PermissionDeniedError as error:
    print(error.code, error.response.headers["x-sidecar-decision"])
    sys.exit(7)
"""
GEMINI_AND_ANTHROPIC = """
import anthropic
from google import genai
print(anthropic.Anthropic().messages.create(model="claude-sonnet-5-5", max_tokens=50, messages=[{"role": "user", "content": "one"}]).content[0].text)
client = genai.Client()
print(client.models.generate_content(model="gemini-2.5-flash", contents="two").text)
client.close()
"""


def test_the_command_has_our_urls_and_key_and_no_key_of_a_provider(sidecar, environ, quickstart):
    kept = {"OPENAI_API_KEY": "sk-real", "ANTHROPIC_API_KEY": "sk-ant-real", "GOOGLE_API_KEY": "goog-real", "ANTHROPIC_AUTH_TOKEN": "real", "HOME": "/home/me"}
    done = sidecar("exec", "-c", quickstart, "--", sys.executable, "-c", PRINT, env={**environ, **kept})
    told = json.loads(done.stdout)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", told["OPENAI_BASE_URL"])
    assert told["ANTHROPIC_BASE_URL"] == told["GOOGLE_GEMINI_BASE_URL"] == told["OPENAI_BASE_URL"].removesuffix("/v1")
    assert told["OPENAI_API_KEY"] == told["ANTHROPIC_API_KEY"] == told["GEMINI_API_KEY"]
    assert told["OPENAI_API_KEY"].startswith("sck_")
    assert not {"GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN", "SIDECAR_STATE"} & set(told)
    assert "real" not in " ".join(told.values())
    assert told["HOME"] == "/home/me"


def test_a_credential_that_a_document_names_is_gone_too(sidecar, environ, quickstart):
    settings = quickstart / "sidecar.yaml"
    settings.write_text(settings.read_text().replace('url: "echo:"', 'url: "http://127.0.0.1:9"\n  credential: {env: MY_OWN_SECRET}', 1))
    done = sidecar("exec", "-c", quickstart, "--", sys.executable, "-c", PRINT, env={**environ, "MY_OWN_SECRET": "s3cret"})
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout


def test_every_run_has_a_key_of_its_own(sidecar, quickstart):
    asked = [json.loads(sidecar("exec", "-c", quickstart, "--", sys.executable, "-c", PRINT).stdout)["OPENAI_API_KEY"] for _ in range(2)]
    assert asked[0] != asked[1]


def test_an_agent_is_denied_by_its_own_sdk_and_its_exit_code_passes_through(sidecar, state):
    done = sidecar("exec", "--", sys.executable, "-c", AGENT)
    assert done.returncode == 7, done.stderr
    heard, denied = done.stdout.splitlines()
    assert heard == "You said: hello"
    code, decision = denied.split()
    assert code == "policy_denied"
    rows = [json.loads(line) for line in (state / "decisions.jsonl").read_text().splitlines()]
    assert [(row["effect"], row["principal"]["id"], row["by"]) for row in rows[:2]] == [
        ("allow", "key:exec", ["everyday/own-machine"]),
        ("deny", "key:exec", ["everyday/short-answers"]),
    ]
    assert rows[1]["id"] == decision


def test_the_other_sdks_find_it_by_their_environment(sidecar):
    done = sidecar("exec", "--", sys.executable, "-c", GEMINI_AND_ANTHROPIC)
    assert done.stdout.splitlines() == ["You said: one", "You said: two"], done.stderr


@pytest.mark.parametrize(("command", "code"), [(["true"], 0), (["false"], 1), (["sh", "-c", "exit 42"], 42), (["sh", "-c", "kill -9 $$"], 137)])
def test_the_exit_code_is_the_commands(sidecar, quickstart, command, code):
    assert sidecar("exec", "-c", quickstart, "--", *command).returncode == code


def test_options_of_the_command_stay_its_own(sidecar, quickstart):
    done = sidecar("exec", "-c", quickstart, "--", "echo", "-c", "--", "--quiet")
    assert done.stdout == "-c -- --quiet\n"


def test_without_a_command_or_with_one_that_is_not_there_it_is_a_usage_error(sidecar, quickstart):
    assert sidecar("exec", "-c", quickstart).returncode == 2
    done = sidecar("exec", "-c", quickstart, "--", "no-such-command")
    assert (done.returncode, done.stderr) == (2, "no such command: no-such-command\n")


def test_bad_configuration_runs_nothing(sidecar, quickstart, tmp_path):
    (quickstart / "policy.yaml").write_text("kind: Nothing\n")
    assert sidecar("exec", "-c", quickstart, "--", "touch", tmp_path / "ran").returncode == 3
    assert not (tmp_path / "ran").exists()


def test_a_signal_goes_to_the_command(environ, quickstart, tmp_path):
    script = "import signal, sys, pathlib, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(30)"
    mark = tmp_path / "up"
    child = subprocess.Popen([sys.executable, "-m", "sidecar", "exec", "-c", str(quickstart), "--", sys.executable, "-c", script, str(mark)], env=environ)
    end = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < end:
        os.sched_yield()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 5


def test_the_ports_are_gone_when_the_command_has_ended(sidecar, quickstart):
    base = json.loads(sidecar("exec", "-c", quickstart, "--", sys.executable, "-c", PRINT).stdout)["OPENAI_BASE_URL"]
    number = int(re.search(r":(\d+)/", base)[1])
    listening = {int(line.split()[1].rpartition(":")[2], 16) for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"}
    assert number not in listening
