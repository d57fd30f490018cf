"""What `run` prints first: lines to export, an allowed and a denied `curl`, and where things are.

The two calls come from the configuration's own Test documents, so they are true of whatever is served.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.documents import Test, TestCall
    from sidecar.server.app import Sidecar
    from sidecar.server.local import LocalKey


def banner(sidecar: Sidecar, key: LocalKey | None, directories: Sequence[str]) -> str:
    """The whole text."""
    snapshot = sidecar.services.active().snapshot
    base = f"{'https' if sidecar.settings.listen.tls else 'http'}://{sidecar.settings.listen.host}:{sidecar.ports['data']}"
    lines = [f"sidecar serves {', '.join(directories)} on {base} (snapshot {snapshot.digest[:12]}, mode {sidecar.settings.mode})", ""]
    if key is not None:
        token = f"$(cat {shlex.quote(str(key.path))})" if key.path else key.token
        lines += exports(base, token)
        lines += _curls(snapshot, base, token, f"key:{key.name}")
    lines += _places(sidecar)
    return "\n".join(lines) + "\n"


def environment(base: str, token: str) -> dict[str, str]:
    """Base URLs and keys for the SDKs of every dialect."""
    return {
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_KEY": token,
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": token,
        "GOOGLE_GEMINI_BASE_URL": base,
        "GEMINI_API_KEY": token,
    }


def exports(base: str, token: str) -> list[str]:
    """The same as shell lines."""
    return [*(f'export {name}="{value}"' for name, value in environment(base, token).items()), ""]


def _curls(snapshot: Snapshot, base: str, token: str, who: str) -> list[str]:
    lines: list[str] = []
    for effect, words in (("allow", "allowed"), ("deny", "denied")):
        found = next((c for test in snapshot.tests for c in _rows(test, effect, who)), None)
        if found is not None:
            body = shlex.quote(json.dumps(_body(found)))
            lines += [
                f"# {words}:",
                f"""curl {base}/v1/chat/completions -H "authorization: Bearer {token}" -H 'content-type: application/json' -d {body}""",
            ]
    return [*lines, ""] if lines else []


def _rows(test: Any, effect: str, who: str) -> list[TestCall]:
    """Chat calls of this caller that the tests expect to end in `effect`."""
    spec: Test = test.spec
    mine = {name for name, principal in spec.principals.items() if principal.id == who}
    rows = [row for row in spec.expect if row.effect == effect and not row.without and not row.facts.quota and mine.intersection(row.principal)]
    named = [spec.calls[name] for row in rows for name in row.call if name in spec.calls]
    return [c for c in named if c.operation == "chat" and c.target and not c.dialect]


def _body(call: TestCall) -> dict[str, Any]:
    return {"model": call.target, "messages": [{"role": "user", "content": "Hello"}], **call.params}


def _places(sidecar: Sidecar) -> list[str]:
    state, health = sidecar.state, sidecar.settings.health
    sinks = [str(state / sink.file) for sink in sidecar.settings.records.sinks if sink.file]
    lines = [f"records  {', '.join(sinks) or 'standard output'}"]
    lines += [
        f"admin    http://{sidecar.settings.admin.host}:{sidecar.ports.get('admin', sidecar.settings.admin.port)}/api/v1/status (token in {state / 'admin.token'})"
    ]
    lines += [f"health   http://{health.host}:{sidecar.ports['health']}/readyz  /metrics", ""]
    return lines
