"""What `sidecar init` writes: file names and contents per kind. Tested: each starter passes `check`, `test` and `fmt --check`, and serves.

The tests of a starter hit and miss each of its rules, so that `test --coverage` begins at the top. Each file names the schema
that is written beside it: editors need no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "sidecar.schema.json"
"""The copy of the schema beside the documents."""
_EDITORS = f"# yaml-language-server: $schema={SCHEMA}\n"


def _for_editors(text: str) -> str:
    """Each document names the schema: editors read that line in each for itself."""
    return _EDITORS + text.replace("---\n", f"---\n{_EDITORS}")


_PLATFORM = """\
# Written by the platform: where the sidecar listens, who may call, where calls go.
apiVersion: sidecar.dev/v1
kind: Settings
metadata: {name: settings}
spec:
  listen: {host: 127.0.0.1, port: 4100}
  records: {sinks: [{file: decisions.jsonl}], onError: deny}
---
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: callers}
spec:
  methods:
    # `sidecar keys new --id ci-bot --group eng` prints a key once, and the entry for this list.
    - apiKey: {keys: []}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: openai, labels: {region: us}}
spec:
  protocol: llm
  dialect: openai
  url: https://api.openai.com/v1
  credential: {env: OPENAI_API_KEY} # the application never holds it
  models: # a closed set: what is not here is not called
    - {name: gpt-4o, price: {input: 2.50, output: 10.00, per: 1M}, maxOutput: 16384}
    - {name: gpt-4o-mini, aliases: [fast], price: {input: 0.15, output: 0.60, per: 1M}, maxOutput: 16384}
"""

_POLICY = """\
# Written by security: what is allowed. Nothing else is; a deny wins over every allow, whatever the order.
# To begin with blocking nothing: `mode: audit` in Settings, some weeks of traffic, then `sidecar suggest`.
apiVersion: sidecar.dev/v1
kind: Policy
metadata: {name: chat, labels: {owner: security}}
spec:
  match:
    protocol: [llm]
    operation: [chat]
    target: ["gpt-*"] # a pattern that begins with `*` needs quotes
    subjects: ["group:eng", "key:local"]
  rules:
    - name: engineers
      effect: allow
    - name: short-answers
      when: call.params.?max_tokens.orValue(0) > 4000
      effect: deny
      message: Ask for at most 4000 tokens here.
---
# A tool call that a model proposes is judged before the agent sees it.
apiVersion: sidecar.dev/v1
kind: Policy
metadata: {name: tools, labels: {owner: security}}
spec:
  match: {protocol: [llm], operation: [tool_call], target: ["delete_*", shell]}
  rules:
    - name: nothing-destructive
      effect: deny
      message: Destructive tools need a person.
---
apiVersion: sidecar.dev/v1
kind: Quota
metadata: {name: per-caller}
spec:
  match: {protocol: [llm]}
  key: [principal.id]
  limits:
    - {metric: requests, max: 60, per: 1m}
    - {metric: cost_usd, max: 5, per: day, warnAt: 80%}
"""

_TESTS = """\
# Run by `sidecar test`, and before every reload takes effect. In CI, three lines hold the rules to their tests:
#   sidecar fmt --check .
#   sidecar check --strict
#   sidecar test
apiVersion: sidecar.dev/v1
kind: Test
metadata: {name: chat}
spec:
  principals:
    engineer: {id: "key:ci-bot", groups: [eng]}
    local: {id: "key:local"}
    stranger: {id: "key:someone"}
  calls:
    hello: {operation: chat, target: gpt-4o-mini}
    brief: {operation: chat, target: gpt-4o-mini, params: {max_tokens: 4000}}
    essay: {operation: chat, target: gpt-4o-mini, params: {max_tokens: 4001}}
  expect:
    - {principal: [engineer, local], call: [hello, brief], effect: allow, by: [chat/engineers]}
    - {principal: [engineer, local], call: [essay], effect: deny, by: [chat/short-answers]}
    - {principal: [engineer], call: [essay], without: [params.max_tokens], effect: allow} # the missing-field case
    - {principal: [stranger], call: [hello, brief, essay], effect: deny}
    - {principal: [engineer], call: [hello], effect: deny, by: [per-caller], facts: {quota: {per-caller: exhausted}}}
---
apiVersion: sidecar.dev/v1
kind: Test
metadata: {name: tools}
spec:
  principals:
    engineer: {id: "key:ci-bot", groups: [eng]}
  calls:
    look: {operation: tool_call, target: read_file, model: gpt-4o, args: {path: /srv/a}}
    wipe: {operation: tool_call, target: delete_all, model: gpt-4o, args: {path: /}}
    shell: {operation: tool_call, target: shell, model: gpt-4o, args: {command: ls}}
  expect:
    - {principal: [engineer], call: [look], effect: allow}
    - {principal: [engineer], call: [wipe, shell], effect: deny, by: [tools/nothing-destructive]}
"""

STARTERS: Mapping[str, Mapping[str, str]] = {
    "llm": {"platform.yaml": _for_editors(_PLATFORM), "policy.yaml": _for_editors(_POLICY), "tests.yaml": _for_editors(_TESTS)},
}
"""The visible table of kinds of starters."""

LATER: Mapping[str, str] = {
    "mcp": "a starter for MCP servers comes with protocol `mcp`, which is not built in this release",
    "a2a": "a starter for A2A agents comes with protocol `a2a`, which is not built in this release",
    "kubernetes": "a starter for Kubernetes comes with the injector, which is not built in this release",
}
"""Kinds that a later release has."""
