"""`sidecar fmt`: one style, every comment, the same meaning.

Longer than most files because the generator of documents in arbitrary styles stands beside the properties it serves.
"""

import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sidecar.config.load import load
from sidecar.workbench.fmt import format_documents
from sidecar.workbench.fmt.tree import parse

ROOT = Path(__file__).parents[2]
OURS = sorted(ROOT.glob("policies/**/*.yaml"))
HEAD = "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: p}\n"


def formatted(text):
    made = format_documents("f.yaml", text if isinstance(text, bytes) else text.encode())
    assert made.text is not None, made.diagnostics
    return made.text


def spec(text):
    """What `fmt` makes of a Policy's spec."""
    made = formatted(HEAD + text)
    assert made.startswith(HEAD)
    assert formatted(made) == made
    return made.removeprefix(HEAD)


def comments(text):
    return [comment.text for comment in parse(text).comments]


def meaning(text):
    loaded = load([("", [("f.yaml", text.encode())])], {}, 1.79e9)
    documents = [(each.kind, each.name, each.labels, each.spec) for each in loaded.layers[0].documents]
    return documents, sorted((item.severity, item.code) for item in loaded.diagnostics if item.code != "hash")


# ---------------------------------------------------------------- the style, by example


def test_the_envelope_is_put_in_order():
    made = formatted("kind: Policy\nspec: {rules: []}\nmetadata: {name: x}\napiVersion: sidecar.dev/v1\n")
    assert made == "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: x}\nspec: {rules: []}\n"


def test_the_envelope_stays_where_a_comment_would_lose_its_place():
    text = "kind: Policy\n# why\nmetadata: {name: x}\napiVersion: sidecar.dev/v1\nspec: {rules: []}\n"
    assert formatted(text) == text


def test_comments_below_what_is_in_place_do_not_keep_the_rest_from_being_ordered():
    text = "kind: Policy\napiVersion: sidecar.dev/v1\nmetadata: {name: x}\nspec:\n  rules: [] # none\n"
    assert formatted(text) == "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: x}\nspec:\n  rules: [] # none\n"


def test_one_value_that_stands_for_a_list_becomes_the_list():
    made = spec('spec:\n  match: {operation: chat, target: "gpt-*"}\n  rules: {name: r, effect: deny}\n')
    assert made == 'spec:\n  match: {operation: [chat], target: ["gpt-*"]}\n  rules: [{name: r, effect: deny}]\n'


def test_a_lone_mapping_on_lines_of_its_own_becomes_a_list_of_one():
    assert spec("spec:\n  rules:\n    name: r\n    effect: deny\n") == "spec:\n  rules:\n    - name: r\n      effect: deny\n"


def test_what_is_in_brackets_stays_so_where_it_fits():
    assert spec("spec:\n  rules: [ {name:   r,\n    effect: deny} ]\n") == "spec:\n  rules: [{name: r, effect: deny}]\n"


def test_what_does_not_fit_becomes_lines_of_its_own():
    words = ", ".join(f"operation-number-{index}" for index in range(12))
    made = spec(f"spec: {{match: {{target: [{words}]}}, rules: []}}\n")
    assert made.startswith("spec:\n  match:\n    target:\n      - operation-number-0\n")
    assert made.endswith("  rules: []\n")


def test_comments_within_brackets_make_them_lines():
    made = spec("spec:\n  match: {operation: [chat, # talk\n    # and\n    models] } # both\n  rules: []\n")
    assert made == "spec:\n  match:\n    operation:\n      - chat # talk\n      # and\n      - models # both\n  rules: []\n"


def test_lists_are_indented_below_their_key_and_a_comment_goes_with_what_follows_it():
    made = spec("spec:\n rules:\n # one\n - name: r # two\n   effect: deny\n   # three\n # four\n variables: {}\n")
    assert made == "spec:\n  rules:\n    # one\n    - name: r # two\n      effect: deny\n      # three\n  # four\n  variables: {}\n"


def test_quotes_are_double_and_only_where_they_are_needed():
    made = spec("""spec: {rules: [{name: 'r', effect: "deny", message: 'Say: no', when: 'call.model == "x"', help: "#"}]}\n""")
    assert made == """spec: {rules: [{name: r, effect: deny, message: "Say: no", when: 'call.model == "x"', help: "#"}]}\n"""


@pytest.mark.parametrize(
    "text", ["yes", "no", "null", "~", "017", "12:30", "2026-01-01", "1e3", "true", "5", ".5", "0123abcd9", "", " x", "x ", "a: b", "a #b"]
)
def test_text_that_may_be_taken_for_something_else_keeps_its_quotes(text):
    assert f'  variables: {{a: "{text}"}}\n' in spec(f'spec:\n  variables: {{a: "{text}"}}\n  rules: []\n')


def test_names_with_stars_and_colons_are_quoted_within_brackets():
    assert '["gpt-*", "group:eng"]' in spec("spec:\n  match: {target: [gpt-*, group:eng]}\n  rules: []\n")


def test_a_condition_over_several_lines_is_one_line_and_a_long_one_is_folded():
    made = spec("spec:\n  when: call.stream &&\n    call.tokens > 5\n  rules: []\n")
    assert "  when: call.stream && call.tokens > 5\n" in made
    long = " ||\n    ".join(f"call.model == 'model-number-{index}'" for index in range(12))
    made = spec(f"spec:\n  when: {long}\n  rules: []\n")
    assert "  when: >-\n    call.model ==" in made
    assert max(map(len, made.splitlines())) <= 160


def test_blocks_of_text_keep_their_lines():
    text = "spec:\n  when: |\n    a ||\n      b\n\n    || c\n  rules: []\n"
    assert spec(text) == text
    assert spec("spec:\n   when: >-   # why\n      a\n      b\n   rules: []\n") == "spec:\n  when: >- # why\n    a\n    b\n  rules: []\n"


@pytest.mark.parametrize(
    "block",
    ["|+\n    x\n\n", "|-\n    x\n", "|2\n      x\n    y\n", ">+\n    x\n\n\n", "|\n\n    x\n", '"a\\nb"\n', "|+\n\n", "|\n    x\n\n    # no comment\n"],
)
def test_texts_of_several_lines_stay_what_they_are(block):
    text = f"spec:\n  when: {block}  # after\n  rules: []\n"
    assert meaning(HEAD + spec(text)) == meaning(HEAD + text)


def test_blank_lines_are_kept_as_one_and_trailing_ones_go():
    made = spec("spec:\n\n  rules:\n\n    - name: a\n      effect: deny\n\n\n\n    - name: b   \n      effect: deny\n\n\n")
    assert made == "spec:\n  rules:\n    - name: a\n      effect: deny\n\n    - name: b\n      effect: deny\n"


def test_documents_are_separated_and_the_first_has_no_mark():
    assert formatted("---\na: 1\n...\n---\n# two\nb: 2\n---\n---\n") == "a: 1\n---\n# two\nb: 2\n"


def test_line_ends_the_byte_order_mark_and_the_last_line_are_normalised():
    assert formatted(b"\xef\xbb\xbf# c\r\na: 1\r\nb:\r\n- x") == "# c\na: 1\nb:\n  - x\n"


def test_the_line_for_editors_stays_the_first():
    text = "# yaml-language-server: $schema=../x.json\n# about\n\na: 1\n"
    assert formatted("\n\n" + text) == text


def test_the_line_for_editors_stands_in_every_document():
    line = "# yaml-language-server: $schema=../x.json\n"
    assert formatted(f"{line}a: 1\n---\nb: 2\n--- # c\n# d\nc: 3\n") == f"{line}a: 1\n---\n{line}b: 2\n---\n{line}# c\n# d\nc: 3\n"
    own = f"{line}a: 1\n---\n# e\n{line.replace('x', 'y')}b: 2\n"
    assert formatted(own) == own
    assert formatted(f"a: 1\n---\n{line}b: 2\n---\nc: 3\n") == f"a: 1\n---\n{line}b: 2\n---\nc: 3\n"


def test_anchors_and_aliases_stay():
    text = "a: &x {b: 1}\nc: *x\nd: &y\n  e: [*x, &z q, *z]\n"
    assert formatted(text) == text


def test_a_file_of_comments_alone_is_kept():
    assert formatted("\n# one\n\n\n   # two\n") == "# one\n\n# two\n"
    assert formatted("") == ""


@pytest.mark.parametrize("text", ["a: [\n", "a: 1\na: 2\n", "\ta: 1\n", "a: !x 1\n", "<<: {a: 1}\n", "%YAML 1.1\n---\na: 1\n", "? [a]\n: b\n", b"\xff\xfea"])
def test_what_the_loader_does_not_read_is_told_and_not_touched(text):
    made = format_documents("f.yaml", text if isinstance(text, bytes) else text.encode())
    assert made.text is None
    assert made.diagnostics[0].position.file == "f.yaml"
    assert made.diagnostics[0].code != "format"


def test_a_document_with_mistakes_of_its_own_is_laid_out_all_the_same():
    assert formatted("kind:   Polcy\nspec: {rules:   3}\n") == "kind: Polcy\nspec: {rules: 3}\n"


def test_foreign_documents_are_told_from_ours():
    assert format_documents("f", b"apiVersion: apps/v1\n").ours == 0
    assert format_documents("f", HEAD.encode()).ours == 1
    assert format_documents("f", HEAD.encode() + b"a: [").ours


def test_large_files_are_formatted():
    text = HEAD + "spec:\n  rules:\n" + "".join(f"    - {{name: r{index}, effect: deny}} # c{index}\n" for index in range(20_000))
    assert formatted(text) == text


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_worked_examples_are_formatted(file):
    assert formatted(file.read_bytes()) == file.read_text(encoding="utf-8"), "run `sidecar fmt policies`"


BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_what_the_manual_shows_is_formatted(block):
    assert formatted(block) == block


# ---------------------------------------------------------------- properties

WORDS = st.sampled_from(
    ["chat", "gpt-4o", "gpt-*", "group:eng", "5", "true", "no", "017", "2026-01-01", "a b", "a: b", "a #b", "'q'", '"d"', "it's", "x\\y", "é", ""]
)
TEXT = st.one_of(
    WORDS, st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co"), exclude_characters="\u2028\u2029\ufeff"), max_size=12)
)
TREE = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)


class Untidy:
    """Writes a value as YAML in whatever style chance says, with numbered comments wherever YAML has room for one."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.made = 0

    def often(self, share=0.5):
        return self.chance.random() < share

    def comment(self, share=0.25):
        if not self.often(share):
            return ""
        self.made += 1
        return f"#{self.chance.choice(['', ' ', '# '])}c{self.made} [{{:'\""

    def lines(self, indent):
        """Comment lines and blank ones."""
        made = ""
        while self.often(0.3):
            made += self.chance.choice(["\n", " " * self.chance.choice([0, indent, indent + 3]) + (self.comment(1) + "\n")])
        return made

    def end(self):
        """The end of a line, perhaps with a comment."""
        spaces = " " * self.chance.randint(0, 2)
        comment = self.comment()
        return f"{spaces} {comment}\n" if comment else f"{spaces}\n"

    def text(self, value):
        if value not in {"true", "false", "null", "yes", "no", "on", "off", "y", "n"} and self.often() and re.fullmatch(r"[a-z][a-z0-9]*( [a-z0-9]+)*", value):
            return value
        if "\n" not in value and value.isprintable() and self.often():
            return "'" + value.replace("'", "''") + "'"
        return '"' + "".join({"\\": "\\\\", '"': '\\"'}.get(each, each if each.isprintable() else f"\\U{ord(each):08x}") for each in value) + '"'

    def gap(self, indent):
        """White space within brackets."""
        if self.often(0.8):
            return " " * self.chance.randint(0, 2)
        return " " + self.end() + self.lines(indent) + " " * indent

    def flow(self, value, indent):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            inner = ",".join(self.gap(indent) + self.flow(each, indent) + self.gap(indent) for each in value)
            return f"[{inner}]"
        inner = ",".join(f"{self.gap(indent)}{self.text(key)}: {self.gap(indent)}{self.flow(each, indent)}{self.gap(indent)}" for key, each in value.items())
        return "{" + inner + "}"

    def below(self, value, indent):
        """What follows a key or a dash: on its line, or below it."""
        if isinstance(value, str) or not value or self.often(0.3):
            lead = " " if self.often(0.8) else " " + self.end() + self.lines(indent + 2) + " " * (indent + 2)
            return lead + self.flow(value, indent + 2) + self.end()
        return self.end() + self.block(value, indent + self.chance.randint(1, 3))

    def block(self, value, indent):
        pad = " " * indent
        if isinstance(value, dict):
            return "".join(f"{self.lines(indent)}{pad}{self.text(key)}:{self.below(each, indent)}" for key, each in value.items())
        return "".join(f"{self.lines(indent)}{pad}-{self.below(each, indent)}" for each in value)

    def file(self, documents):
        parts = [
            self.lines(0) + (self.block(each, 0) if each and not isinstance(each, str) else self.flow(each, 0) + self.end()) + self.lines(0)
            for each in documents
        ]
        return "---\n".join(parts)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TREE, min_size=1, max_size=3), st.integers(0, 2**32))
def test_whatever_the_style_every_comment_stays_and_the_meaning_and_twice_is_once(documents, seed):
    text = Untidy(seed).file(documents)
    made = formatted(text)
    assert comments(made) == comments(text) == re.findall(r"#(?:# | |)c\d+ \[\{:'\"", text)
    assert formatted(made) == made
    assert [line for line in made.splitlines() if line != line.rstrip()] == []
    assert read_by_another(made) == documents


def read_by_another(text):
    """What ruamel.yaml, which shares no code with us, reads."""
    return [each for each in YAML(typ="safe", pure=True).load_all(io.StringIO(text)) if each is not None]


RULE = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z]{1,8}", fullmatch=True), "effect": st.sampled_from(["deny", "allow", "warn"])},
    optional={
        "when": st.sampled_from(["call.stream", 'call.model == "x"', "'a' in principal.groups", "true"]),
        "message": TEXT.filter(bool),
        "buffer": st.just("x"),
    },
)
MATCH = st.fixed_dictionaries(
    {},
    optional={
        "operation": st.sampled_from(["chat", ["chat", "models"], ["*"], "deyn"]),
        "target": st.sampled_from(["gpt-*", ["**"], ["gpt-4o", "openai/gpt-*"]]),
        "subjects": st.sampled_from(["group:eng", ["key:a", "user:b"], "nobody"]),
    },
)
POLICY = st.fixed_dictionaries({"match": MATCH, "rules": st.one_of(RULE, st.lists(RULE, max_size=3))})


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(POLICY, min_size=1, max_size=2), st.integers(0, 2**32))
def test_policies_in_any_style_load_to_the_same(specs, seed):
    documents = [{"apiVersion": "sidecar.dev/v1", "kind": "Policy", "metadata": {"name": f"p{index}"}, "spec": each} for index, each in enumerate(specs)]
    shuffled = [dict(random.Random(seed).sample(sorted(each.items(), key=str), len(each))) for each in documents]
    text = Untidy(seed).file(shuffled)
    made = formatted(text)
    assert meaning(made) == meaning(text)
    assert comments(made) == comments(text)
    assert formatted(made) == made


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(OURS), st.integers(0, 2**32))
def test_worked_examples_with_damage_are_formatted_to_the_same_or_refused_with_a_reason(file, seed):
    chance = random.Random(seed)
    lines = file.read_text(encoding="utf-8").splitlines()
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(lines))
        what = chance.choice(
            ["# c", "", "  # d", lines[place] + "   # e", lines[place] + "  ", " " + lines[place], lines[place].replace("[", "[ # f\n  ", 1), "---", "..."]
        )
        lines[place : place + chance.randint(0, 1)] = [what]
    text = "\n".join(lines)
    made = format_documents("f.yaml", text.encode())
    if made.text is None:
        assert made.diagnostics[0].code != "format"
        return
    assert meaning(made.text) == meaning(text)
    assert [each for each in comments(made.text) if "$schema" not in each] == [each for each in comments(text) if "$schema" not in each]
    assert formatted(made.text) == made.text
