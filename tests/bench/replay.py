"""`replay` and `diff` over 100,000 recorded calls under 100 rules, and what keeping the inputs costs a call.

The records are those of real decisions over varied calls, written as the sidecar writes them; ids, times and counts differ in each.
"""

import os
import random
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

import configuration
import orjson

from sidecar.call import Call
from sidecar.cli.main import main
from sidecar.evaluate import ladder
from sidecar.need import Reserved, Verify
from sidecar.principal import Principal, Source
from sidecar.server.app import load
from sidecar.telemetry import kept, sealing
from sidecar.telemetry.record import Writer
from sidecar.testing import document, write
from sidecar.wire.openai_chat import CODEC

DECISIONS = 100_000
KINDS = 2_000
NOW = 1_790_000_000.0


def policies(hot):
    """A policy for everybody, whose conditions read parameters and the time."""
    rules = [
        {"name": "open", "effect": "allow", "when": "call.params.?n.orValue(1) < 3"},
        {"name": "hot", "effect": "deny", "when": f"call.params.?temperature.orValue(0.0) > {hot}"},
    ]
    rules += [
        {"name": f"r{n}", "effect": "deny", "when": f'call.params.?user.orValue("") == "u-{n}" && now > timestamp("2026-01-01T00:00:00Z")'} for n in range(8)
    ]
    return document("Policy", "everybody", match={"protocol": ["llm"], "operation": ["chat"]}, rules=rules)


def snapshots(where):
    for name, hot in (("old", 1.2), ("new", 1.1)):
        directory = write(where / name, *configuration.documents(90, "echo:"), policies(hot))
        yield str(directory), load([str(directory)], os.environ, NOW).snapshot


def made(draw, index):
    params = {"temperature": draw.choice([0.0, 0.7, 1.0, 1.15, 1.4]), "user": f"u-{draw.randrange(5, 300)}", "max_tokens": draw.choice([100, 1000])}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 900}], **params}
    return Call(
        id=f"d_{index:032x}", protocol="llm", operation="chat", dialect="openai_chat", target="gpt-4o", body=body, params=params,
        tokens=draw.randrange(10, 4000), bytes=1000, max_output=params["max_tokens"], source=Source("10.0.0.7"),
    )  # fmt: skip


def decided(snapshot, call, who):
    steps, answer = ladder.decide(snapshot, call, (), codec=CODEC, now=NOW, decision_id=call.id), None
    while True:
        try:
            need = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = who if isinstance(need, Verify) else Reserved("t", ())


def records(where, snapshot):
    """The file, and some of the decisions in it."""
    draw, writer, keeper = random.Random(7), Writer(), kept.Facts()
    people = [Principal.of(f"key:k{n}", team=draw.choice(["build", "web"]), groups=("eng",)) for n in range(50)]
    decisions = [decided(snapshot, made(draw, index), draw.choice(people)) for index in range(KINDS)]
    rows = [orjson.loads(writer.line(one, snapshot=snapshot.digest, request=one.id, inputs=keeper.keep(snapshot, one))) for one in decisions]
    path = where / "decisions.jsonl"
    with path.open("wb") as file:
        for index in range(DECISIONS):
            row = rows[index % KINDS]
            call = {**row["call"], "tokens": max(1, row["call"]["tokens"] - index % 7)}
            file.write(
                orjson.dumps({**row, "id": f"d_{index:032x}", "now": NOW + index, "call": call, "chain": "ab" * 8, "seq": index, "prev": "0" * 64}) + b"\n"
            )
    return path, decisions


def report(where):
    (old, snapshot), (new, _) = snapshots(where)
    path, decisions = records(where, snapshot)
    print(f"\n{DECISIONS:,} records ({path.stat().st_size / 1e6:.0f} MB), 100 rules")
    for name, arguments in (("replay", [str(path), "-c", new]), ("diff", [old, new, "--records", str(path)])):
        times = [run(name, arguments) for _ in range(2)]
        print(f"  {name:<8} {min(times):6.1f} s ({DECISIONS / min(times):,.0f} a second)")
    keeping(snapshot, decisions[:500])


def run(name, arguments):
    began = time.perf_counter()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        main([name, *arguments])
    return time.perf_counter() - began


def keeping(snapshot, decisions):
    """Microseconds that a line costs with each of the keepers."""
    sealed = kept.Sealed(sealing.Sealer(sealing.make()[1]))
    writer = Writer()
    for name, keeper in (("tuple", None), ("facts", kept.Facts()), ("sealed", sealed)):
        rounds = []
        for _ in range(7):
            began = time.perf_counter()
            for one in decisions:
                writer.line(one, snapshot=snapshot.digest, request=one.id, inputs=keeper.keep(snapshot, one) if keeper is not None else None)
            rounds.append((time.perf_counter() - began) / len(decisions) * 1e6)
        print(f"  a line with inputs: {name:<7} {min(rounds):6.1f} us (median {median(rounds):.1f})")
