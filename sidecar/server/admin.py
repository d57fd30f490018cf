"""The admin API: status, documents, decisions, explain. Every answer needs the admin credential, on loopback too.

The agent shares this loopback, so the token lies in a file of mode 0600 and is given to nobody. Built on aiohttp: nothing
here is on the way of a call.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sidecar.errors import BadRecord, ConfigError
from sidecar.server.guard import Guard
from sidecar.telemetry import record
from sidecar.workbench import explain
from sidecar.workbench.explain import effects

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from ssl import SSLContext

    from sidecar.server.app import Sidecar

TOKEN_FILE = "admin.token"  # noqa: S105  (a file's name)
PREFIX = "/api/v1"
SEARCH = 2_000
"""Decisions that the search for the smallest change may take here, beside live calls; `sidecar explain` takes ten times as many."""


def token(state: Path) -> str:
    """The admin token of this state directory, made on first use; its file is 0600."""
    path = state / TOKEN_FILE
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"sca_{secrets.token_urlsafe(32)}\n")
    return path.read_text().strip()


class Admin:
    """Its application and its port."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._guard = Guard(sidecar.settings, sidecar.settings.admin)
        self._token = token(sidecar.state).encode()
        self._runner: web.AppRunner | None = None

    async def start(self, port: socket.socket, context: SSLContext | None) -> int:
        """Serve on a socket that listens; returns the port's number."""
        app = web.Application(middlewares=[self._checked], client_max_size=8 * 2**20)
        app.router.add_get(f"{PREFIX}/status", self._status)
        app.router.add_get(f"{PREFIX}/documents", self._documents)
        app.router.add_get(f"{PREFIX}/decisions", self._decisions)
        app.router.add_post(f"{PREFIX}/explain", self._explain)
        app.router.add_get(f"{PREFIX}/explain/{{decision}}", self._explain_recent)
        app.router.add_post(f"{PREFIX}/reload", self._reload)
        app.router.add_get(f"{PREFIX}/candidate", self._candidate)
        app.router.add_post(f"{PREFIX}/candidate/promote", self._promote)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, port, ssl_context=context).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        wrong = self._guard.wrong([(name.lower(), value) for name, value in request.headers.items()])
        if wrong:
            return _problem(403, wrong)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(errors="replace"), self._token):
            return _problem(401, f"an admin credential is needed: the token in {TOKEN_FILE} of the state directory", {"www-authenticate": "Bearer"})
        if request.method == "POST" and request.content_type != "application/json":
            return _problem(415, "the body must be `application/json`")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _problem(error.status, error.reason)

    async def _status(self, request: web.Request) -> web.Response:
        return _json(status(self._sidecar))

    async def _documents(self, request: web.Request) -> web.Response:
        active = self._sidecar.services.active()
        return _json({"digest": active.snapshot.digest, "documents": [_document(document) for document in active.documents]})

    async def _decisions(self, request: web.Request) -> web.Response:
        return _json({"decisions": [json.loads(line) for line in self._sidecar.services.recorder.recent()]})

    async def _explain(self, request: web.Request) -> web.Response:
        services = self._sidecar.services
        try:
            asked = explain.read(await request.json(), services.clock())
            return self._told(await asyncio.to_thread(explain.explained, services.active().snapshot, asked, bound=SEARCH))
        except (ValueError, KeyError, TypeError) as error:
            said = str(error) if isinstance(error, ValueError) else type(error).__name__
            return _problem(400, f"this is no call to explain: {said}")

    async def _explain_recent(self, request: web.Request) -> web.Response:
        """One of the decisions that `/decisions` lists, from what its record keeps."""
        services, decision = self._sidecar.services, request.match_info["decision"]
        line = next((line for line in services.recorder.recent() if decision.encode() in line and json.loads(line)["id"] == decision), None)
        if line is None:
            return _problem(404, "no such decision among the recent ones; `sidecar explain` reads them all from their file")
        try:
            return self._told(await asyncio.to_thread(explain.explained_record, services.active().snapshot, record.read(line), bound=SEARCH))
        except BadRecord as error:
            return _problem(409, f"this decision cannot be explained: {error.message}")

    def _told(self, told: explain.Explanation) -> web.Response:
        """With what the live counters hold. They are looked at on this loop, whose they are, and nothing is taken."""
        if told.need is not None:
            effects.levels(told.tree["quotas"], told.need, self._sidecar.services.counters.levels(told.need))
        return _json(told.tree)

    async def _reload(self, request: web.Request) -> web.Response:
        done = await self._sidecar.live.reload()
        return _json(status(self._sidecar), 200 if done else 409)

    async def _candidate(self, request: web.Request) -> web.Response:
        shadow = self._sidecar.shadow
        if shadow is None:
            return _problem(404, "Settings name no `candidate`")
        return _json({**shadow.report(), "diagnostics": [_diagnostic(item) for item in shadow.prepared.diagnostics]})

    async def _promote(self, request: web.Request) -> web.Response:
        """The digest that was looked at must be named: what is promoted is what was compared."""
        if self._sidecar.shadow is None:
            return _problem(404, "Settings name no `candidate`")
        try:
            digest = str((await request.json())["digest"])
        except (ValueError, KeyError, TypeError):
            return _problem(400, 'the body must be `{"digest": "…"}`, as `GET candidate` told it')
        try:
            kept = await self._sidecar.promote(digest)
        except ConfigError as error:
            found = [_diagnostic(item) for item in error.diagnostics]
            return _json({"status": 409, "detail": error.message, "diagnostics": found}, 409)
        return _json({**status(self._sidecar), "kept": kept})


def status(sidecar: Sidecar) -> dict[str, Any]:
    """What runs, and why it is not ready where it is not."""
    active, outcome = sidecar.services.active(), sidecar.live.outcome
    return {
        "ready": sidecar.ready and not sidecar.services.recorder.down,
        "why": _why(sidecar),
        "mode": sidecar.settings.mode,
        "digest": active.snapshot.digest,
        "generation": active.generation,
        "configuration": {"healthy": outcome.healthy, "loads": outcome.reloads, "failures": outcome.failures},
        "diagnostics": [_diagnostic(item) for item in outcome.diagnostics],
        "inflight": sidecar.services.inflight,
        "ports": dict(sidecar.ports),
        "upstreams": dict(active.core.health()),
        "records": {"down": list(sidecar.services.recorder.down), "unsealed": sidecar.services.recorder.unsealed, "lost": sidecar.services.recorder.lost},
        "store": sidecar.settings.store,
        "core": sidecar.settings.core,
    }


def _why(sidecar: Sidecar) -> list[str]:
    reasons = {
        "starting or draining": not sidecar.ready,
        "a record sink is down": sidecar.services.recorder.down,
        "the newest configuration does not load; the last good one is in force": not sidecar.live.outcome.healthy,
    }
    return [reason for reason, holds in reasons.items() if holds]


def _document(document: Any) -> dict[str, Any]:
    return {"kind": document.kind, "name": document.name, "labels": dict(document.labels), "where": f"{document.file}:{document.line}", "layer": document.layer}


def _diagnostic(item: Any) -> dict[str, Any]:
    where = f"{item.position.file}:{item.position.line}:{item.position.column}"
    return {"severity": item.severity, "code": item.code, "message": item.message, "where": where, "hint": item.hint}


def _json(data: Any, status: int = 200) -> web.Response:
    return web.json_response(data, status=status)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """RFC 9457."""
    return web.json_response({"status": status, "detail": detail}, status=status, headers=headers, content_type="application/problem+json")
