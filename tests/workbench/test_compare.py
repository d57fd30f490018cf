"""Two answers compared: the gravest difference is named, with the rules that made it."""

import pytest

from sidecar.workbench.compare import DEFAULT, EXAMPLES, KINDS, SAME, Change, Outcome, Tally, compare

YES = Outcome("allow", ("p/open",))
NO = Outcome("deny", ("p/shut",))


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (YES, YES, SAME),
        (NO, NO, SAME),
        (YES, NO, Change("newly_denied", ("p/shut",))),
        (YES, Outcome("deny"), Change("newly_denied", (DEFAULT,))),
        (NO, YES, Change("newly_allowed", ("p/shut",))),
        (Outcome("deny"), YES, Change("newly_allowed", (DEFAULT,))),
        (NO, Outcome("deny", ("p/other",)), Change("rules", ("p/other", "p/shut"))),
        (YES, YES._replace(obligations={"cap": {"n": 1}}), Change("obligations", ("cap",))),
        (YES, YES._replace(undecided="call.params.n"), Change("undecidable", ("call.params.n",))),
        (NO._replace(undecided="call.args"), YES, Change("undecidable", ("call.args",))),
    ],
)
def test_the_difference_is_named_with_the_rules_that_made_it(old, new, change):
    assert compare(old, new) == change


def test_what_a_no_would_have_owed_is_no_difference():
    assert compare(NO, NO._replace(obligations={"label": ["x"]})) == SAME


def test_a_report_counts_every_kind_and_puts_the_gravest_and_largest_first():
    tally = Tally()
    for number in range(9):
        tally.add(Change("newly_denied", ("p/a",)), f"d_{number}")
        tally.add(SAME, f"s_{number}")
    tally.add(Change("newly_denied", ("p/b",)), "d_x")
    tally.add(Change("newly_allowed", ("p/c",)), "d_y")
    report = tally.report()
    assert report["counts"] == dict.fromkeys(KINDS, 0) | {"newly_denied": 10, "newly_allowed": 1, "same": 9}
    assert [(group["kind"], group["rules"], group["count"]) for group in report["groups"]] == [
        ("newly_denied", ["p/a"], 9),
        ("newly_denied", ["p/b"], 1),
        ("newly_allowed", ["p/c"], 1),
    ]
    assert report["groups"][0]["examples"] == [f"d_{number}" for number in range(EXAMPLES)]
