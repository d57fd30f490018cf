"""An explanation as text: the verdict first, then why, then the smallest change that would be allowed.

Takes the tree of `workbench/explain` and nothing else; counterpart of its JSON, which has everything. Values stand in it: it is for the
author's own terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.config.diagnostics import printable
from sidecar.expr.times import text_of_timestamp
from sidecar.expr.values import SECOND, Timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Tree = Mapping[str, Any]

DEPTH: Final = 3
"""Levels of a condition that are told of the rules that matter."""
NEARLY: Final = 4
"""Rules told that were nearly candidates."""
TOLD: Final = 8
"""Ways that are told."""
EACH: Final = 3
"""Ways that are told of one kind."""
STYLES: Final = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "cyan": "\x1b[36m", "": ""}
OFF: Final = "\x1b[0m"
WORDS: Final = {"unread": "not read", "unknown": "not known", "failed": "error", "would": "would match"}
SHADES: Final = {
    "matched": "bold",
    "error": "yellow",
    "unknown": "yellow",
    "failed": "yellow",
    "lifted": "cyan",
    "would": "cyan",
    "not matched": "dim",
    "unread": "dim",
}


class Style(NamedTuple):
    """How to print. `width` 0 cuts nothing; `depth` None is as deep as usual."""

    width: int = 0
    color: bool = False
    depth: int | None = None
    everything: bool = False

    def paint(self, shade: str, text: str) -> str:
        """With colour, where there is any."""
        return f"{STYLES[shade]}{text}{OFF}" if self.color and shade else text


def lines(tree: Tree, style: Style) -> Iterator[str]:
    """All of it."""
    yield from _head(tree, style)
    yield from _recorded(tree, style)
    yield ""
    yield _asked(tree)
    for part in tree["parts"]:
        yield from _part(tree, part, style)
    yield from _nearest(tree)
    yield from _members(tree, style)
    yield from (
        f"  sent with {edit['pointer']} {_plain(edit['value'])}" if edit["op"] == "set" else f"  sent without {edit['pointer']}" for edit in tree["edits"]
    )
    for quota in tree["quotas"]:
        yield from _quota(quota, style)
    yield from _listing(tree, style)
    if "smallest" in tree:
        yield ""
        yield from _smallest(tree["smallest"], style)


# ---------------------------------------------------------------- verdict


def _head(tree: Tree, style: Style) -> Iterator[str]:
    no = tree["effect"] != "allow"
    by = ", ".join(tree["by"]) or _silent(tree)
    yield f"{style.paint('red' if no else 'green', tree['effect'])}: {style.paint('bold', printable(by))}"
    refusal = tree["refusal"]
    if refusal:
        yield f"  {refusal['status']} {refusal['code']}: {printable(refusal['message'])}"
        if refusal["help"]:
            yield f"  see {printable(refusal['help'])}"


def _silent(tree: Tree) -> str:
    """What decided where no rule did."""
    if tree["audited"]:
        return "Settings `mode: audit` lets pass what would be denied"
    if tree["effect"] == "allow":
        return "housekeeping" if tree["call"].get("housekeeping") else "no rule denies it (default)"
    return "no rule allows it (default)" if tree["refusal"]["code"] == "policy_denied" else tree["refusal"]["code"]


def _recorded(tree: Tree, style: Style) -> Iterator[str]:
    """What came out then, where a record is explained."""
    then = tree.get("recorded")
    if then is None:
        return
    where = "under these documents" if then["same"] else "under other documents"
    refusal = f", {then['refusal']['status']} {then['refusal']['code']}" if then["refusal"] else ""
    yield printable(f"  recorded: {then['effect']} by {', '.join(then['by']) or 'default'}{refusal}, {where}")
    for reason in then["reasons"] if style.everything else ():
        yield printable(f"    {reason['effect']:<9} {reason['rule']}  condition {reason['result']}  {reason['where']}")
    if tree["undecided"]:
        yield style.paint("yellow", printable(f"  undecidable: not kept: {tree['undecided']}; what is not known counts against the call here"))


def _asked(tree: Tree) -> str:
    call = tree["call"]
    what = f"{call['operation']} {call.get('tool') or call['target']}".strip()
    stream = " as a stream" if call["stream"] else ""
    others = [name for name in tree["subjects"] if name != tree["principal"]]
    who = tree["principal"] + (f" ({', '.join(others)})" if others else "")
    when = f" at {_when(tree['now'])}" if tree["timed"] else ""
    names = f", matched under {', '.join(call['names'])}" if len(call["names"]) > 1 else ""
    return printable(f"{what}{stream} by {who}{when}{names}")


def _when(at: float) -> str:
    return text_of_timestamp(Timestamp(int(at) * SECOND))


# ---------------------------------------------------------------- rules


def _part(tree: Tree, part: Tree, style: Style) -> Iterator[str]:
    if len(tree["parts"]) > 1:
        yield f"{part['of']}:"
    if "early" in part:
        yield f"  {part['early']}"
    for layer in part["layers"]:
        if len(part["layers"]) > 1:
            yield f"  layer {printable(layer['layer'])}, its silence is {layer['silence']['effect']}: {layer['silence']['why']}"
        yield from _layer(tree, layer, style)
    yield from _demands(part.get("demands"))


def _layer(tree: Tree, layer: Tree, style: Style) -> Iterator[str]:
    rules = [*layer["rules"], *({**rule, "audit": True} for rule in layer["audits"])]
    columns = max((len(rule["rule"]) for rule in rules), default=0)
    for rule in rules:
        yield _rule(rule, columns, style)
        yield from _conditions(rule["conditions"], _levels(tree, rule, style), style)
    for each in layer["exceptions"]:
        ended = f" {_when(each['expires'])}" if each["verdict"] == "expired" else ""
        yield f"  {'exception':<9} {printable(each['exception'])}  {each['verdict']}{ended}  {each['where']}"
        if each["verdict"].startswith("condition"):
            yield from _conditions(each["conditions"], style.depth or DEPTH, style)
    yield from _nearly(tree, layer, style)


def _rule(rule: Tree, columns: int, style: Style) -> str:
    verdict = rule["verdict"]
    word = f"lifted by {rule['lifted']}" if rule.get("lifted") else WORDS.get(verdict, verdict)
    if rule.get("audit"):
        word = f"{word} (audit)"
    if verdict == "unread" and rule["result"] != "unread":
        word = f"not read (would be {rule['result']})"
    covers = f"  covers {', '.join(rule['covers'])}" if rule.get("covers") and verdict == "matched" else ""
    name = style.paint(SHADES[verdict], f"{printable(rule['rule']):<{columns}}")
    return f"  {rule['effect']:<9} {name}  {word:<11}  {rule['where']}{printable(covers)}"


def _levels(tree: Tree, rule: Tree, style: Style) -> int:
    """How deep a rule's condition is told: what decided and what is wrong, wholly; what did not match, by what was not true of it."""
    if style.everything:
        return 1000
    if style.depth is not None:
        return style.depth
    if rule["verdict"] == "unread":
        return 0
    decided = rule["rule"] in tree["by"] or rule["verdict"] in {"error", "unknown", "failed", "lifted", "would"}
    silent = not tree["by"] and rule["effect"] == "allow"
    return DEPTH if decided or silent else 1


def _conditions(conditions: Sequence[Tree], depth: int, style: Style) -> Iterator[str]:
    if depth <= 0:
        return
    for entry in conditions:
        models = f"for {', '.join(entry['models'])}: " if len(conditions) > 1 else ""
        for node in entry["parts"]:
            yield from _node({**node, "text": models + node["text"]}, depth, 12, style)
        for variable in entry.get("variables", ()):
            yield from _node({**variable, "text": f"{variable['name']} = {variable['text']}"}, depth, 12, style)


def _node(node: Tree, depth: int, indent: int, style: Style) -> Iterator[str]:
    turn = f" (turn {node['turn']})" if "turn" in node else ""
    value = f"{node['shown']}{turn}"
    room = style.width - indent - len(value) - 4 if style.width else 0
    yield printable(f"{' ' * indent}{_cut(node['text'], room)} → ") + style.paint(_shade(node), printable(value))
    if depth > 1 and node["is"] != "unread":
        for part in _parts(node):
            yield from _node(part, depth - 1, indent + 2, style)


def _parts(node: Tree) -> Sequence[Tree]:
    """What is below it. The inside of a negation says nothing that the negation does not."""
    parts: Sequence[Tree] = node.get("parts", ())
    if node["text"].startswith("!") and len(parts) == 1 and parts[0]["is"] == "value":
        return _parts(parts[0])
    return parts


def _shade(node: Tree) -> str:
    if node["is"] != "value":
        return "dim" if node["is"] == "unread" else "yellow"
    value = node.get("value")
    return "green" if value is True else "red" if value is False else "cyan"


def _cut(text: str, room: int) -> str:
    """Within the width of the terminal, cut in the middle; never to less than can be read."""
    room = max(room, 24) if room else len(text)
    return text if len(text) <= room else f"{text[: room // 2 - 1]} … {text[len(text) - (room - room // 2 - 2) :]}"


def _nearly(tree: Tree, layer: Tree, style: Style) -> Iterator[str]:
    known = {(rule["rule"], rule["where"]) for rule in tree.get("nearest", ())}
    told = [rule for rule in layer["nearly"] if (rule["rule"], rule["where"]) not in known]
    near = told if style.everything else told[:NEARLY]
    for rule in near:
        audit = " (audit)" if rule["audit"] else ""
        yield style.paint("dim", printable(f"  not considered: {rule['effect']} {rule['rule']}{audit}, {rule['why']}  {rule['where']}"))
    if more := layer["more"] + len(told) - len(near):
        yield style.paint("dim", f"  not considered: {more} more of this operation")


def _nearest(tree: Tree) -> Iterator[str]:
    if not tree.get("nearest"):
        return
    yield "  the nearest allows:"
    for rule in tree["nearest"]:
        yield printable(f"    {rule['rule']}  {rule['where']}  {'; '.join(rule['missing'])}")


# ---------------------------------------------------------------- what follows


def _demands(demands: Tree | None) -> Iterator[str]:
    if demands is None:
        return
    for name, value in demands["sum"].items():
        by = [each["rule"] for each in demands["by"] if name in each["then"]]
        yield printable(f"  must {name} {_owed(value)}  ({', '.join(by)})")
    if "conflict" in demands:
        yield printable(f"  cannot be met: {demands['conflict']}")
        yield from (printable(f"    {each['rule']} demands {_owed(each['then'])}  {each['where']}") for each in demands["by"])


def _owed(value: Any) -> str:
    """What is owed, as an author would write it."""
    return ", ".join(f"{name}: {_owed(item)}" for name, item in value.items()) if isinstance(value, dict) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _members(tree: Tree, style: Style) -> Iterator[str]:
    members = tree["members"]
    if len(members) < 2 and not any("label" in each.get("why", "") for each in members):
        return
    for each in members:
        word = style.paint("green", "may serve ") if each["serves"] else style.paint("red", "may not   ")
        yield f"  {word}{printable(each['member'])}" + (f": {each['why']}" if "why" in each else "")


def _quota(quota: Tree, style: Style) -> Iterator[str]:
    if not quota["counts"]:
        yield style.paint("dim", printable(f"  quota     {quota['quota']}  does not count this call  {quota['where']}"))
        yield from _conditions(quota["conditions"], 1, style)
        return
    keys = ", ".join(f"{key['text']} {key['shown']}" for key in quota["key"])
    yield printable(f"  quota     {quota['quota']}  {quota['answer']}  {quota['where']}")
    for limit in quota["limits"]:
        amount = "an amount that can't be told" if limit["amount"] is None else _plain(limit["amount"])
        left = f", {_plain(limit['remaining'])} left" if "remaining" in limit else ""
        yield printable(f"            {limit['metric']} {amount} of {_plain(limit['max'])} {_window(limit['window'])}{left}{f', by {keys}' if keys else ''}")


def _window(window: Any) -> str:
    if isinstance(window, str):
        return f"per {window.partition(':')[0]}"
    return f"per {_plain(window)} s" if window else "at once"


def _listing(tree: Tree, style: Style) -> Iterator[str]:
    for each in tree.get("listing", ()):
        said = f"for {', '.join(each['for'])}" if each["for"] else each.get("why", "")
        yield f"  {style.paint('green', 'shows') if each['shown'] else style.paint('red', 'hides')} {printable(each['name'])}  {printable(said)}"


# ---------------------------------------------------------------- the smallest change


def _smallest(found: Tree, style: Style) -> Iterator[str]:
    tried = f"{found['decisions']} decisions"
    if "missing" in found:
        yield printable(f"no change was searched for: not kept: {', '.join(found['missing'])}")
    elif not found["ways"]:
        bounded = "every change and every pair of them was tried" if found["complete"] else f"the search ended at its bound of {found['bound']}"
        far = f"; {found['left']} rules that are farther were not looked at" if found["left"] else ""
        yield f"no change was found that would be allowed: {found['changes']} changes, {tried}, {bounded}{far}"
    else:
        yield from _ways(found, style)


def _ways(found: Tree, style: Style) -> Iterator[str]:
    changes = "one change" if found["size"] == 1 else "two changes"
    yield style.paint("bold", f"would be allowed with {changes}:")
    ways = found["ways"] if style.everything else chosen(found["ways"])
    texts = [" and ".join(change["text"] for change in way["changes"]) for way in ways]
    columns = min(max(map(len, texts)), 60)
    yield from (f"  {printable(text):<{columns}}  {_by(way)}" for text, way in zip(texts, ways, strict=True))
    if more := found["more"] + len(found["ways"]) - len(ways):
        yield style.paint("dim", f"  and {more} more")


def chosen(ways: Sequence[Tree]) -> list[Tree]:
    """A few of each kind, in their order. Another operation is another call: told where nothing else helps."""
    ways = [way for way in ways if all(change["kind"] != "operation" for change in way["changes"])] or list(ways)
    counts: dict[tuple[str, ...], int] = {}
    kept = []
    for way in ways:
        kinds = tuple(change["kind"] for change in way["changes"])
        counts[kinds] = counts.get(kinds, 0) + 1
        if counts[kinds] <= EACH:
            kept.append(way)
    return kept[:TOLD]


def _by(way: Tree) -> str:
    admin = any(change["by"] == "admin" for change in way["changes"])
    return printable(f"by {', '.join(way['by']) or 'default'}{' (an administrator)' if admin else ''}")


def page(told: Iterable[str]) -> str:
    """One text; no line ends in blanks."""
    return "\n".join(line.rstrip() for line in told) + "\n"
