"""What `sidecar init` writes: file names and contents per kind. Tested: each starter passes `check` and `test`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
# Written by security: what is allowed. Nothing else is; a deny wins over every allow.
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
# Run by `sidecar test`, and before every reload takes effect.
apiVersion: sidecar.dev/v1
kind: Test
metadata: {name: chat}
spec:
  principals:
    engineer: {id: "key:ci-bot", groups: [eng]}
    stranger: {id: "key:someone"}
  calls:
    hello: {operation: chat, target: gpt-4o-mini}
    essay: {operation: chat, target: gpt-4o-mini, params: {max_tokens: 100000}}
  expect:
    - {principal: engineer, call: hello, effect: allow, by: chat/engineers}
    - {principal: engineer, call: essay, effect: deny, by: chat/short-answers}
    - {principal: engineer, call: essay, without: [params.max_tokens], effect: allow}
    - {principal: stranger, call: hello, effect: deny}
"""

STARTERS: Mapping[str, Mapping[str, str]] = {
    "llm": {"platform.yaml": _PLATFORM, "policy.yaml": _POLICY, "tests.yaml": _TESTS},
}
"""The visible table of kinds of starters."""
