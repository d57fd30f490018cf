"""The configuration under the benches: identity, N rules, RBAC, a quota, records to a file; upstream as given.

The N rules come in shapes: told apart by what they `match`, or all of one broad match and told apart by their conditions alone.
"""

from sidecar.credentials import keys
from sidecar.testing import document, write

TOKEN = keys.make(b"bench-bench-bench-bench-")


def matched(rules):
    """Each policy has a target and a subject of its own."""
    for index in range(rules // 10):
        yield document(
            "Policy",
            f"team-{index}",
            match={"protocol": ["llm"], "operation": ["chat"], "target": [f"model-{index}-*"], "subjects": [f"team:team-{index}"]},
            rules=[{"name": f"r{n}", "when": f'call.tokens > {n * 10} && principal.team == "team-{index}"', "effect": "deny"} for n in range(10)],
        )


def broad(rules):
    """All policies match everything; conditions name one team, or one model, each."""
    whens = ('principal.team == "team-{}"', 'call.model == "m-{}" && call.tokens > 10', 'principal.team in ["team-{0}", "squad-{0}"] && call.stream')
    for index in range(rules // 10):
        numbered = [(n, index * 10 + n) for n in range(10)]
        yield document(
            "Policy",
            f"broad-{index}",
            match={"target": ["**"]},
            rules=[{"name": f"r{n}", "when": whens[n % 3].format(number), "effect": "deny"} for n, number in numbered],
        )


SHAPES = {"match": matched, "when": broad}


def documents(rules, url, *, port=0, health=0, admin=0, shape="match"):
    price = {"input": 2.5, "output": 10.0, "per": "1M"}
    yield document(
        "Settings",
        "bench",
        listen={"host": "127.0.0.1", "port": port},
        admin={"host": "127.0.0.1", "port": admin},
        health={"host": "127.0.0.1", "port": health},
        records={"sinks": [{"file": "decisions.jsonl"}]},
    )
    yield document("Identity", "bench", methods=[{"apiKey": {"keys": [{"id": "ci", "sha256": keys.digest(TOKEN), "team": "build", "groups": ["eng"]}]}}])
    yield document("Upstream", "up", protocol="llm", dialect="openai", url=url, models=[{"name": "gpt-4o", "price": price, "maxOutput": 4096}])
    yield document("Roles", "eng", roles={"developer": {"allow": ["llm:chat:gpt-*"]}}, bindings=[{"role": "developer", "subjects": ["group:eng"]}])
    yield document(
        "Policy",
        "general",
        match={"protocol": ["llm"], "operation": ["chat"]},
        rules=[
            {"name": "cool", "when": "call.params.?temperature.orValue(0.0) > 1.5", "effect": "deny"},
            {"name": "short", "when": 'call.tokens > 100000 && principal.team in ["build", "web"]', "effect": "deny"},
            {"name": "cap", "effect": "require", "then": {"label": ["bench"]}},
        ],
    )
    yield from SHAPES[shape](rules)
    yield document("Quota", "team", match={"protocol": ["llm"]}, key=["principal.team"], limits=[{"metric": "requests", "max": 1e9, "per": "1m"}, {"metric": "cost_usd", "max": 1e9, "per": "day"}])  # fmt: skip


def directory(where, rules, url, **ports):
    return write(where / f"rules-{rules}{ports.get('shape', '')}", *documents(rules, url, **ports))
