"""The whole gate on the wire: requests a second against HAProxy on one core, p50 added, start to ready, memory, cost per chunk."""

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import configuration

UP, HA, SC, HEALTH = 19000, 19001, 19002, 19003
REPLY = json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o", "choices": [{"index": 0, "message": {"role": "assistant", "content": "The capital of France is Paris. It has been the capital since the 10th century and is the largest city in the country."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 213, "completion_tokens": 27, "total_tokens": 240}})  # fmt: skip
NGINX = """worker_processes 1; daemon off; pid {d}/nginx.pid; error_log {d}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_body_buffer_size 64k; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
 server {{ listen 127.0.0.1:{up} reuseport; location / {{ default_type application/json; return 200 '{body}'; }} }} }}"""
HAPROXY = """global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend f
  bind 127.0.0.1:{ha}
  default_backend b
backend b
  server s 127.0.0.1:{up} maxconn 200
"""
# bodies differ from call to call, so that nothing in the gate can be remembered by body
LUA = """local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
local head = [[{{"model": "gpt-4o", "messages": [{{"role": "system", "content": "{system}"}}, {{"role": "user", "content": "]]
local tail = [[{user}"}}], "temperature": 0.2, "max_tokens": 200}}]]
request = function()
  n = n + 1
  return wrk.format(nil, "/v1/chat/completions", nil, head .. string.format("%09d ", n) .. tail)
end
"""


def launch(core, command, **env):
    return subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env}, start_new_session=True
    )


def stop(processes):
    for process in processes:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def sidecar(where, rules, core=1, url=f"http://127.0.0.1:{UP}/v1"):
    config = configuration.directory(where, rules, url, port=SC, health=HEALTH, admin=SC + 2)
    return launch(core, [sys.executable, "-m", "sidecar", "run", "--quiet", "-c", str(config)], SIDECAR_STATE=str(where / "state"))


def until_ready(limit=20.0):
    """Seconds until /readyz says ready."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < limit:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{HEALTH}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return time.perf_counter() - begin
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.005)
    return float("nan")


def memory(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def start(where):
    """Start to ready, and resident memory when idle."""
    seconds, sizes = [], []
    for _ in range(5):
        process = sidecar(where, 100)
        seconds.append(until_ready())
        time.sleep(1.5)
        sizes.append(memory(process.pid))
        stop([process])
    print(f"start to ready {statistics.median(seconds):.2f} s, idle memory {statistics.median(sizes):.0f} MiB (medians of 5)")


def wrk(port, lua, connections, secs):
    out = subprocess.run(["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{secs}s", "--latency", "-s", lua, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout  # fmt: skip
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    bad = int(found[1]) if (found := re.search(r"Non-2xx or 3xx responses: (\d+)", out)) else 0
    return rate, _us(out, "50%"), _us(out, "99%"), bad


def _us(out, name):
    number, unit = re.search(rf"{name}\s+([\d.]+)([a-z]+)", out).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def compare(where, rounds, secs):
    """Rates and latencies beside HAProxy, interleaved."""
    (where / "nginx.conf").write_text(NGINX.format(d=where, up=UP, body=REPLY))
    (where / "ha.cfg").write_text(HAPROXY.format(ha=HA, up=UP))
    (where / "post.lua").write_text(
        LUA.format(token=configuration.TOKEN, system="You are a helpful assistant. " * 10, user="What is the capital of France? " * 20)
    )
    processes = [launch(0, ["nginx", "-p", str(where), "-c", str(where / "nginx.conf")]), launch(1, ["haproxy", "-f", str(where / "ha.cfg")])]
    processes.append(sidecar(where, 100))
    try:
        until_ready()
        rows = {"haproxy": (HA, processes[1].pid), "sidecar": (SC, processes[2].pid)}
        many = {name: [] for name in rows}
        one = {name: [] for name in rows}
        spent = dict.fromkeys(rows, 0.0)
        for _ in range(rounds):
            for name, (port, pid) in rows.items():
                before = _cpu(pid)
                many[name].append(wrk(port, str(where / "post.lua"), 32, secs))
                spent[name] += _cpu(pid) - before
                one[name].append(wrk(port, str(where / "post.lua"), 1, 2))
        _table(many, one)
        for name, seconds in spent.items():
            print(f"{name}: {seconds / sum(row[0] * secs for row in many[name]) * 1e6:.1f} us CPU a call")
        print(f"memory under load {memory(processes[-1].pid):.0f} MiB")
    finally:
        stop(processes)


def _table(many, one):
    base = statistics.median(row[0] for row in many["haproxy"])
    alone = statistics.median(row[1] for row in one["haproxy"])
    print(f"{'name':9} {'rps':>8} {'x haproxy':>9} {'p50 us':>8} {'p99 us':>8} {'p50 c1':>8} {'+c1 us':>8} {'bad':>4}")
    for name, rows in many.items():
        rate, p50, p99 = (statistics.median(row[index] for row in rows) for index in range(3))
        c1 = statistics.median(row[1] for row in one[name])
        print(f"{name:9} {rate:8.0f} {rate / base:9.3f} {p50:8.0f} {p99:8.0f} {c1:8.0f} {c1 - alone:8.0f} {sum(row[3] for row in rows):4}")


def stream(where):
    """CPU microseconds per relayed chunk: one long stream from the echo, read through the whole process."""
    process = sidecar(where, 100, url="echo:")
    try:
        until_ready()
        words = 20_000
        before = _cpu(process.pid)
        got = asyncio.run(_read(words))
        spent = _cpu(process.pid) - before
        print(f"stream: {got} chunks, {spent / got * 1e6:.0f} us CPU a chunk (embedded echo included)")
    finally:
        stop([process])


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _read(words):
    reader, writer = await asyncio.open_connection("127.0.0.1", SC, limit=2**20)
    body = json.dumps({"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "word " * words}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {configuration.TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    count = 0
    while line := await reader.readline():
        count += line.startswith(b"data:")
        if line.startswith(b"data: [DONE]"):
            break
    writer.close()
    return count
