"""`sidecar run` in a process of its own: what it prints is true, what is wrong stops it before a port opens, signals are obeyed."""

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def bash(line, environ):
    """What the shell makes of a line that was printed."""
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=environ).stdout


def curls(process):
    """The two printed commands, by the word above them."""
    lines = process.banner
    return {line.strip("# :"): lines[index + 1] for index, line in enumerate(lines) if line.startswith("# ")}


def port(process):
    return int(re.search(r"http://127\.0\.0\.1:(\d+)", process.banner[0])[1])


def bearer(state):
    return {"authorization": f"Bearer {(state / 'local.key').read_text().strip()}"}


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def line_of(file, text):
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def get(url, headers):
    """(status, JSON), or (0, None) while nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def listening(number):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def test_the_exports_point_every_sdk_at_it(serve, quickstart, environ, state):
    process = serve("-c", quickstart, "--local-key")
    exports = "\n".join(line for line in process.banner if line.startswith("export "))
    told = dict(line.split("=", 1) for line in bash(f"{exports}\nenv", environ).splitlines() if "=" in line)
    base = f"http://127.0.0.1:{port(process)}"
    assert (told["OPENAI_BASE_URL"], told["ANTHROPIC_BASE_URL"], told["GOOGLE_GEMINI_BASE_URL"]) == (f"{base}/v1", base, base)
    assert {told["OPENAI_API_KEY"], told["ANTHROPIC_API_KEY"], told["GEMINI_API_KEY"]} == {(state / "local.key").read_text().strip()}
    assert (state / "local.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the lines are for a shell with curl")
def test_the_printed_calls_do_what_is_written_above_them(serve, quickstart, environ):
    process = serve("-c", quickstart, "--local-key")
    allowed = json.loads(bash(curls(process)["allowed"].replace("curl", "curl -s"), environ))
    assert allowed["choices"][0]["message"]["content"] == "You said: Hello"
    denied = json.loads(bash(curls(process)["denied"].replace("curl", "curl -s"), environ))
    assert denied["error"]["code"] == "policy_denied"
    assert "everyday/short-answers" in denied["error"]["message"]


def test_the_records_are_where_it_says_and_each_decision_is_one_line(serve, quickstart, state, post):
    process = serve("-c", quickstart, "--local-key")
    url = f"http://127.0.0.1:{port(process)}/v1/chat/completions"
    ids = [post(url, bearer(state), {**CHAT, **more})[1]["x-sidecar-decision"] for more in ({}, {"max_tokens": 100000})]
    lines = [process.line("key:local chat gpt-4o-mini") for _ in ids]
    assert re.match(r"\d\d:\d\d:\d\d allow +200 .* ms .*everyday/own-machine  2\+3 tokens  \$0\.0000", lines[0])
    assert re.match(r"\d\d:\d\d:\d\d deny +403 .* ms .*everyday/short-answers", lines[1])
    (path,) = [line.split()[1] for line in process.banner if line.startswith("records ")]
    assert [json.loads(line)["id"] for line in Path(path).read_text().splitlines()] == ids


def test_quiet_says_nothing_of_decisions(serve, quickstart, state, post):
    process = serve("-c", quickstart, "--local-key", "--quiet")
    post(f"http://127.0.0.1:{port(process)}/v1/chat/completions", bearer(state), CHAT)
    assert process.stop() == 0
    assert process.child.stdout.read() == ""


def test_records_on_standard_output_are_alone_there(serve, quickstart, state, post):
    edit(quickstart / "sidecar.yaml", "{file: decisions.jsonl}", "{stdout: true}")
    process = serve("-c", quickstart, "--local-key", people="stderr")
    _, headers, _ = post(f"http://127.0.0.1:{port(process)}/v1/chat/completions", bearer(state), CHAT)
    process.line("key:local chat gpt-4o-mini")
    assert process.stop() == 0
    rows = [json.loads(line) for line in process.child.stdout]
    assert [row.get("id") for row in rows] == [headers["x-sidecar-decision"], None]
    assert rows[1]["type"] == "checkpoint"


def test_bad_configuration_is_told_whole_and_exits_3_before_a_port_opens(sidecar, quickstart):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        number = held.getsockname()[1]
    edit(quickstart / "sidecar.yaml", "port: 0}", f"port: {number}}}")
    edit(quickstart / "policy.yaml", "effect: allow", "effect: alow")
    edit(quickstart / "tests.yaml", "principals:", "principal:")
    done = sidecar("run", "-c", quickstart)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{quickstart}/policy.yaml:{line_of(quickstart / 'policy.yaml', 'alow')}:15: error: `alow` is not one of" in done.stderr
    assert "did you mean `allow`?" in done.stderr
    assert f"{quickstart}/tests.yaml:{line_of(quickstart / 'tests.yaml', 'principal:')}:3: error: " in done.stderr
    assert not listening(number)


def test_a_test_that_fails_is_bad_configuration_too(sidecar, quickstart):
    edit(quickstart / "policy.yaml", "> 4000", "> 400000")
    done = sidecar("run", "-c", quickstart)
    assert done.returncode == 3
    assert (
        f"{quickstart}/tests.yaml:{line_of(quickstart / 'tests.yaml', 'everyday/short-answers')}:7: error: test `everyday: local / essay` failed: expected deny, got allow"
        in done.stderr
    )


def test_a_port_that_is_taken_is_told(sidecar, quickstart):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        edit(quickstart / "sidecar.yaml", "port: 0}", f"port: {held.getsockname()[1]}}}")
        done = sidecar("run", "-c", quickstart)
    assert done.returncode == 2
    assert done.stderr.startswith("cannot listen: ")


def test_a_state_directory_that_cannot_be_used_is_told(sidecar, quickstart, environ, tmp_path):
    (tmp_path / "file").write_text("")
    done = sidecar("run", "-c", quickstart, "--local-key", env={**environ, "SIDECAR_STATE": str(tmp_path / "file" / "below")})
    assert (done.returncode, done.stderr) == (2, f"cannot use the state directory `{tmp_path}/file/below`: not a directory\n")


def test_an_edit_is_in_force_without_a_restart(serve, quickstart, state, post):
    process = serve("-c", quickstart, "--local-key")
    url = f"http://127.0.0.1:{port(process)}/v1/chat/completions"
    policy = quickstart / "policy.yaml"
    draft = quickstart / ".policy"
    draft.write_text(policy.read_text().replace("> 4000", "> 2000"))
    draft.replace(policy)
    for _ in range(200):
        process.signal(signal.SIGHUP)
        status, _, body = post(url, bearer(state), {**CHAT, "max_tokens": 3000})
        if status == 403:
            break
    assert body["error"]["code"] == "policy_denied"


def test_sigterm_drains_and_exits_0_with_a_signed_end(serve, quickstart, state, post, sidecar):
    process = serve("-c", quickstart, "--local-key")
    post(f"http://127.0.0.1:{port(process)}/v1/chat/completions", bearer(state), CHAT)
    assert process.stop() == 0
    done = sidecar("records", "verify", state / "decisions.jsonl", "--strict")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 lines, 1 chains, nothing was changed")


def test_without_a_directory_it_serves_the_embedded_quickstart(serve, state, post):
    if any(map(listening, (4100, 4101, 4102))):
        pytest.skip("somebody else serves on the quickstart's ports")
    process = serve()
    assert port(process) == 4100
    assert post("http://127.0.0.1:4100/v1/chat/completions", bearer(state), CHAT)[0] == 200
    assert process.stop() == 0


def test_a_credential_that_is_not_in_the_environment_is_told_at_start():
    from sidecar.server.app import load, missing_credentials

    snapshot = load([str(Path(__file__).parents[2] / "policies" / "openai")], {}, 1_795_000_000.0).snapshot
    assert missing_credentials(snapshot, {"OPENAI_API_KEY": "x"}) == []
    assert [text for text in missing_credentials(snapshot, {}) if "$OPENAI_API_KEY is not set" in text]


def test_a_promoted_candidate_serves_after_a_restart_until_the_old_directory_changes(serve, quickstart, state, post, tmp_path):
    candidate = Path(shutil.copytree(quickstart, tmp_path / "candidate"))
    edit(candidate / "policy.yaml", "> 4000", "> 2000")
    settings = quickstart / "sidecar.yaml"
    edit(settings, "spec:", f"spec:\n  candidate: {candidate}")
    process = serve("-c", quickstart, "--local-key")
    line = next(line for line in process.banner if line.startswith("admin "))
    admin = f"http://127.0.0.1:{re.search(r'127.0.0.1:([0-9]+)', line)[1]}/api/v1"
    get(f"{admin}/status", {})  # the port answers once its token is written
    token = {"authorization": f"Bearer {(state / 'admin.token').read_text().strip()}"}
    for _ in range(500):
        status, told = get(f"{admin}/candidate", token)
        if status == 200 and told["digest"]:
            break
    asked = {**CHAT, "max_tokens": 3000}
    assert post(f"http://127.0.0.1:{port(process)}/v1/chat/completions", bearer(state), asked)[0] == 200
    assert post(f"{admin}/candidate/promote", token, {"digest": told["digest"]})[0] == 200
    assert post(f"http://127.0.0.1:{port(process)}/v1/chat/completions", bearer(state), asked)[0] == 403
    assert process.stop() == 0
    again = serve("-c", quickstart, "--local-key")
    assert post(f"http://127.0.0.1:{port(again)}/v1/chat/completions", bearer(state), asked)[0] == 403
    again.stop()
    assert f"note: {candidate} was promoted over {quickstart}" in again.child.stderr.read()
    edit(settings, "spec:", "spec: # merged")
    last = serve("-c", quickstart, "--local-key")
    assert post(f"http://127.0.0.1:{port(last)}/v1/chat/completions", bearer(state), asked)[0] == 200
