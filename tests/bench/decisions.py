"""Microseconds per decision by number of rules: the ladder alone, needs answered from memory. No I/O."""

import gc
import statistics
import time
from dataclasses import replace

import configuration
import orjson

from sidecar import wire
from sidecar.compiler.memo import Memo
from sidecar.evaluate import ladder
from sidecar.need import OwnerOf, Reserve, Verify
from sidecar.principal import Presented, Principal
from sidecar.server.ids import Ids
from sidecar.store import counters
from sidecar.wire.base import WireRequest
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import prepare

CALLER = Principal.of("key:ci", team="build", groups=("eng",))
BODIES = [
    orjson.dumps(
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "You are a helpful assistant. " * 10}, {"role": "user", "content": f"{n}: What is the capital of France? " * 18}],
            "temperature": 0.2,
            "max_tokens": 200,
        }
    )
    for n in range(64)
]  # fmt: skip


def report(where):
    print("one decision: ladder, permit, re-serialised bytes; rules told apart by `match`, or all of one match and told apart by `when`")
    print(f"{'rules':>7} {'by':>6} {'load s':>7} {'p50 us':>7} {'p99 us':>7} {'first us':>9}   (first: nothing is remembered yet)")
    for shape in configuration.SHAPES:
        for rules in (10, 100, 1_000, 10_000):
            measure(where, shape, rules)


def measure(where, shape, rules):
    directory = configuration.directory(where, rules, "http://127.0.0.1:9/v1", shape=shape)
    layers = read_layers([str(directory)])
    started = time.perf_counter()
    snapshot = prepare(layers, {}, time.time()).snapshot
    loaded = time.perf_counter() - started
    gc.collect()
    gc.freeze()  # as the process does after each load
    first = statistics.median(anew(snapshot) for _ in range(50))
    times = sorted(once(snapshot) for _ in range(20_000))
    print(f"{rules:7} {shape:>6} {loaded:7.2f} {statistics.median(times) / 1e3:7.1f} {times[int(len(times) * 0.99)] / 1e3:7.1f} {first / 1e3:9.1f}")


def anew(snapshot):
    """A decision of which the snapshot remembers nothing."""
    return once(replace(snapshot, _members=Memo(), _candidates=Memo(), people=Memo(), counters=Memo()))


STORE = counters("memory://")
IDS = Ids()
CODEC, PARTS = wire.match("POST", "/v1/chat/completions")


def once(snapshot):
    """One decision, in nanoseconds: the call is read before the clock starts."""
    id = IDS()
    call = CODEC.read_call(id, WireRequest("POST", "/v1/chat/completions", (), [("content-type", "application/json")], BODIES[len(id) % 64]), PARTS)
    now = time.time()
    begin = time.perf_counter_ns()
    steps = ladder.decide(snapshot, call, (Presented("bearer", "x"),), codec=CODEC, now=now, decision_id=id)
    decision = drive(steps)
    took = time.perf_counter_ns() - begin
    assert decision.permit is not None, decision.refusal
    STORE.settle(decision.reservation, {}, now)
    return took


def drive(steps):
    answer = None
    while True:
        try:
            need = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        if isinstance(need, Verify):
            answer = CALLER
        elif isinstance(need, Reserve):
            answer = STORE.reserve(need)
        else:
            assert isinstance(need, OwnerOf)
            answer = None
