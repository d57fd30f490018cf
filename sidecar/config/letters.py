"""Letters that are not what they look like: invisible ones, and those of another script that stand in for Latin ones.

Names of documents, rules and roles are plain ASCII (`checks/base.py`). Names that come from outside (models, groups, tools) may
be in any script, so here it is the mixture that is told, and what cannot be seen is refused. Knows nothing of documents.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal, NamedTuple

HIDDEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Categories of Unicode without a shape of their own."""
BLANK: Final = frozenset("\u00ad\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
"""Letters and marks that show nothing."""
ALIKE: Final = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "FULLWIDTH", "MATHEMATICAL", "MODIFIER", "SCRIPT"})
"""First words of the names of letters that can be taken for Latin ones."""
TWINS: Final = frozenset("авсԁеһіјӏорԛѕѵԝхуАВЕНІЈКМОРСТХУѲ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο")  # noqa: RUF001  that is what they are
"""Letters that are drawn as a Latin one: a word of them alone is told too."""


class Strange(NamedTuple):
    """What is wrong with a name. `error`: it can't be meant."""

    severity: Literal["error", "warning"]
    message: str
    hint: str


def strange(text: str) -> Strange | None:
    """The first thing in a name that does not look like what it is."""
    if text.isascii():
        return None if text.isprintable() else _hidden(next(character for character in text if not character.isprintable()))
    for character in text:
        if unicodedata.category(character) in HIDDEN or character in BLANK:
            return _hidden(character)
    return next((found for word in _words(text) if (found := _mixed(word)) is not None), None)


def spelt(character: str) -> str:
    """`U+0430 (CYRILLIC SMALL LETTER A)`."""
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'a character without a name')})"


def _words(text: str) -> list[str]:
    """Runs between the ASCII marks that names are made of."""
    return "".join(character if character.isalnum() or not character.isascii() else " " for character in text).split()


def _mixed(word: str) -> Strange | None:
    if word.isascii():
        return None
    odd = [character for character in word if not character.isascii()]
    dash = next((character for character in odd if unicodedata.category(character) == "Pd"), "")
    if dash:
        return Strange("warning", f"holds {spelt(dash)}, which looks like `-`", "write `-`, where that is meant")
    latin = any(_script(character) == "LATIN" for character in word)
    other = next((character for character in odd if _script(character) in ALIKE), "")
    if other and (latin or all(character in TWINS for character in word)):
        return Strange("warning", f"holds {spelt(other)}, which looks like a Latin letter", "write it in one script")
    return None


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""


def _hidden(character: str) -> Strange:
    return Strange("error", f"holds {spelt(character)}, which cannot be seen", "take it out")
