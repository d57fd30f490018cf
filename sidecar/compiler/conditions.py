"""Expressions of documents to checked programs, and every problem in them to a diagnostic at its place.

A constant is folded here: what is always true is not read on the way of a call, what is always false is dropped. Counterpart:
`sidecar.expr`, which knows no documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar import expr
from sidecar.compiler.rules import Condition, Variables, touches
from sidecar.expr import BOOL, DOUBLE, DYN, INT, STRING, Declarations, ExprError, Fault, Program, list_of
from sidecar.expr.environment import request_declarations, response_declarations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.config.diagnostics import Diagnostic, Severity
    from sidecar.config.document import Document
    from sidecar.config.documents import Identity
    from sidecar.expr import Type

CLAIM_TYPES: Final[Mapping[str, Type]] = {"bool": BOOL, "int": INT, "double": DOUBLE, "string": STRING, "list": list_of(STRING)}
_VARIABLE: Final = re.compile(r"\bvariables\s*\.\s*\??\s*([A-Za-z_][A-Za-z0-9_]*)")
NEVER: Final = "never"
ALWAYS: Final = "always"


def claim_types(identity: Identity | None) -> Mapping[str, Type]:
    """The declared claims with the types that conditions see."""
    return {name: CLAIM_TYPES[claim.type] for name, claim in identity.claims.items()} if identity is not None else {}


@dataclass(slots=True)
class Report:
    """What was found while compiling, over all documents."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    """Every path that any condition reads."""

    def say(self, severity: Severity, document: Document, code: str, message: str, pointer: str, *, hint: str = "") -> None:
        """Add a diagnostic at a value."""
        self.diagnostics.append(document.complaint(severity, code, message, pointer, hint=hint))

    def problems(self, document: Document, pointer: str, error: ExprError) -> None:
        """Add every problem of an expression at its line and column."""
        self.diagnostics += [
            document.complaint("error", "condition", each.message, pointer, line=each.line, column=each.column, end_column=each.end_column, hint=each.hint)
            for each in error.problems
        ]


@dataclass(slots=True)
class Scope:
    """The expressions of one document: what they may name, and where their problems are told."""

    report: Report
    document: Document
    claims: Mapping[str, Type] | None
    """The declared claims; None where the Identity did not load, so that nobody knows them."""
    phase: str = "request"
    proposals: bool = False
    """The document is about proposed tool calls alone."""
    variables: Variables | None = None
    types: dict[str, Type] = field(default_factory=dict)
    doubtful: bool = False
    """A variable did not compile, so that its type is not known."""

    def declarations(self, types: Mapping[str, Type]) -> Declarations:
        """What may be named in this document's phase, with these variables."""
        if self.phase == "response":
            return response_declarations(self.claims, types)
        return request_declarations(self.claims, types, proposals=self.proposals)

    def program(self, pointer: str, source: str, *, result: Type = BOOL, types: Mapping[str, Type] | None = None) -> Program | None:
        """Compile one expression. None where it does not compile; the problems are in the report."""
        if (self.claims is None and "claims" in source) or (self.doubtful and "variables" in source):
            result = DYN  # what is read may be the result, and its type is not known
        try:
            made = expr.compile(source, self.declarations(self.types if types is None else types), result=result)
        except ExprError as error:
            self.report.problems(self.document, pointer, error)
            return None
        self.report.reads |= made.reads
        if touches(made.reads, "session"):
            self.report.say("error", self.document, "later", "sessions are not built in this release", pointer)
        if isinstance(made.constant, Fault):
            self.report.say("error", self.document, "always-fails", f"this is an error whatever the call: {made.constant.message}", pointer)
        return made

    def condition(self, *sources: tuple[str, str]) -> Condition | str:
        """Expressions joined by AND, as (pointer, source): a Condition, ALWAYS, or NEVER (broken ones too)."""
        programs: list[Program] = []
        never = False
        for pointer, source in sources:
            made = self.program(pointer, source) if source != "true" else None
            if made is None:
                never = never or source != "true"
            elif made.constant is False:
                self.report.say("warning", self.document, "always-false", "this condition is never true", pointer, hint="take the rule out")
                never = True
            elif made.constant is not True:
                programs.append(made)
        if never:
            return NEVER
        return self.join(programs) if programs else ALWAYS

    def join(self, programs: Iterable[Program]) -> Condition:
        """Programs as one condition, with the variables they read and all that those read."""
        parts = tuple(programs)
        reads = frozenset(path for part in parts for path in part.reads)
        named = {path.split(".")[1] for path in reads if path.startswith("variables.")}
        if self.variables is None or not any(path.partition(".")[0] == "variables" for path in reads):
            return Condition(parts, reads)
        return Condition(parts, reads | self._reads_of(named or set(self.variables.programs)), self.variables)

    def _reads_of(self, names: Iterable[str]) -> frozenset[str]:
        variables = self.variables.programs if self.variables is not None else {}
        found: set[str] = set()
        ahead, seen = list(names), set()
        while ahead:
            name = ahead.pop()
            if name in seen or name not in variables:
                continue
            seen.add(name)
            found |= variables[name].reads
            ahead += [path.split(".")[1] for path in variables[name].reads if path.startswith("variables.")]
        return frozenset(found)

    def declare(self, sources: Mapping[str, str]) -> None:
        """Compile the document's variables, each typed by its own program; one that reads itself is an error."""
        made: dict[str, Program] = {}
        waiting = dict(sources)
        while waiting:
            ready = [name for name, source in waiting.items() if not _named(source, waiting)]
            if not ready:
                self._circle(waiting)
                break
            for name in ready:
                program = self.program(f"/spec/variables/{name}", waiting.pop(name), result=DYN)
                if program is not None:
                    made[name] = program
                self.types[name] = program.type if program is not None else DYN
                self.doubtful = self.doubtful or program is None
        self.variables = Variables(made)

    def _circle(self, waiting: Mapping[str, str]) -> None:
        self.doubtful = True
        for name in sorted(waiting):
            self.types[name] = DYN
            self.report.say("error", self.document, "cycle", f"variable `{name}` reads itself, or one that does", f"/spec/variables/{name}")


def _named(source: str, waiting: Mapping[str, str]) -> set[str]:
    """Which of the variables that are not typed yet a source may read, by its words: to wait for one too many is harmless."""
    return {name for name in waiting if name in _VARIABLE.findall(source)}
