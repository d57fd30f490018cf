"""Microseconds per condition: the five of the measurements, by our core, cel-python's interpreter and Google's C++ engine. No I/O.

The engines beside ours get their context converted beforehand, which is what they cannot do without: a call is another one each time.
"""

import timeit
from importlib.util import find_spec

from sidecar import expr
from sidecar.expr import BOOL, DYN, INT, STRING, Declarations, Field, Record, Timestamp, list_of, map_of
from sidecar.expr.values import SECOND

CALL = Record(
    "call",
    {
        "model": Field(STRING), "tokens": Field(INT), "params": Field(map_of(STRING, DYN)), "created": Field(expr.TIMESTAMP),
        "tool": Field(Record("tool", {"name": Field(STRING)})), "messages": Field(list_of(Record("message", {"role": Field(STRING), "text": Field(STRING)}))),
    },
)  # fmt: skip
DECLARED = Declarations(
    {"call": CALL, "principal": Record("principal", {"team": Field(STRING), "mfa": Field(BOOL)}), "now": expr.TIMESTAMP, "then": expr.TIMESTAMP}
)
NOW = 1_772_445_600
VALUES = {
    "call": {
        "model": "gpt-4o-mini",
        "tokens": 3200,
        "params": {"temperature": 0.7},
        "tool": {"name": "read_file"},
        "messages": [{"role": "user", "text": f"message {n} of a conversation"} for n in range(20)],
    },
    "principal": {"team": "b", "mfa": True},
    "now": Timestamp(NOW * SECOND),
    "then": Timestamp((NOW - 600) * SECOND),
}
CONDITIONS = {
    # name: (condition, microseconds allowed to our core)
    "1 model, team, tokens": ("call.model.startsWith('gpt-4') && principal.team in ['a', 'b'] && call.tokens < 4000", 1.0),
    "2 prefix pattern": ("call.tool.name.matches('^(read|list)_')", 1.0),
    "2 prefix, then a run": ("call.tool.name.matches('^(read|list)_[a-z]+$')", 1.0),
    "2 any pattern": ("call.tool.name.matches('[a-z]+_(file|dir)s?$')", 5.0),
    "3 has and compare": ("has(call.params.temperature) && call.params.temperature < 1.0", 1.0),
    "4 exists over 20": ("call.messages.exists(m, m.role == 'system')", 8.0),
    "5 times": ("now - then < duration('15m') && now > timestamp('2026-01-01T00:00:00Z')", 2.0),
}


def best(run, rounds=100, seconds=0.001):
    """The least of many short rounds: what disturbs a round only adds."""
    timer = timeit.Timer(run)
    number = max(1, int(seconds / max(timer.timeit(5) / 5, 1e-8)))
    return min(timer.repeat(rounds, number)) / number * 1e6


def report():
    columns = {"core": core, "c++": cpp if find_spec("cel_expr_python") else None, "cel-python": celpy if find_spec("celpy") else None}
    print(f"{'condition (µs)':<24}{'allowed':>9}" + "".join(f"{name:>13}" for name in columns) + f"{'compile':>13}")
    for name, (source, allowed) in CONDITIONS.items():
        runs = {column: make(source) if make else None for column, make in columns.items()}
        answers = {run() for run in runs.values() if run}
        assert len(answers) == 1, (name, answers)
        cells = "".join(f"{best(run):13.2f}" if run else f"{'-':>13}" for run in runs.values())
        print(f"{name:<24}{allowed:9.1f}{cells}{best(lambda s=source: expr.compile(s, DECLARED)):13.1f}")


def core(source):
    program = expr.compile(source, DECLARED)
    assert program(VALUES) in (True, False)
    return lambda: program(VALUES)


def cpp(source):
    from datetime import UTC, datetime

    from cel_expr_python import cel

    kinds = {"call": cel.Type.DYN, "principal": cel.Type.DYN, "now": cel.Type.TIMESTAMP, "then": cel.Type.TIMESTAMP}
    env = cel.NewEnv(variables=kinds)
    program = env.compile(source)
    moments = {name: datetime.fromtimestamp(VALUES[name] // SECOND, UTC) for name in ("now", "then")}
    activation = env.Activation(VALUES | moments)

    def run():
        value = program.eval(activation)
        return value.type() == cel.Type.BOOL and value.value() is True

    return run


def celpy(source):
    from sidecar.workbench.celpython import CelPython

    engine = CelPython()
    context = {name: engine._to(value) for name, value in VALUES.items()}
    program = engine._program(source)
    return lambda: bool(program.evaluate(context))
