"""A pattern for descriptions is a regular expression that surely finishes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venice_mcp.policy.patterns import MAX_DESCRIPTION, PatternError, checked, matches

GOOD = [
    r"^(app|cust):[a-z0-9-]{1,40}$",
    r"(?:ci|app)-\d{1,8}(?:-[a-z]+)?",
    r".*-.*-.*",
    r"[]a|(]+x",
    r"a{64}",
    r"\(a\)\|\*",
    r"(ci|app|web|db)[a-z]+",
    r"(?:ab){3}",
    "",
]
BAD = [
    ("(a+)+$", "may not repeat"),
    ("(a|a)*b", "may not repeat"),
    (r"(\w+\s?)*$", "may not repeat"),
    ("(a?){30}a{30}", "may not repeat"),
    ("((a{60}){60}){60}", "may not repeat"),
    ("(?:(?:){60}){60}", "may not repeat"),
    ("a?" * 30 + "a" * 30, "could take too long"),
    ("a*a*a*a*a*b", "could take too long"),
    ("(a|a)" * 40, "could take too long"),
    ("(a{0,64}|b{0,64}|c{0,64}|d{0,64}|e{0,64})x", "could take too long"),
    (r"(a)\1", "neither"),
    ("(?i)a", "neither"),
    ("(?=a)a", "neither"),
    ("(?P<n>a)(?P=n)", "neither"),
    ("a{65}", "may not count beyond 64"),
    ("(){60000}", "may not count beyond 64"),
    ("((((", "is not a regular expression"),
    ("[[a]", "is not a regular expression"),
    ("a{99999999999999}", "is not a regular expression"),
    ("a" * 201, "must be at most 200 characters"),
]


@pytest.mark.parametrize("pattern", GOOD)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    assert checked(pattern) == pattern


@pytest.mark.parametrize(("pattern", "problem"), BAD)
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str, problem: str) -> None:
    with pytest.raises(PatternError, match=re.escape(problem)):
        checked(pattern)


PIECES = st.sampled_from([*"aab|?*+()[]{}.\\^$,", "{1,3}", "{2}", "(?:", "a*", "(a|b)", "\\w", "[a-z]"])


@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(["a" * 64, "a" * 63 + "!", "ab" * 32, "b"]))
def test_a_pattern_that_is_taken_finishes(pattern: str, text: str) -> None:
    try:
        checked(pattern)
    except PatternError:
        return
    assert matches(pattern, text) in (True, False)


def test_a_whole_description_must_match_and_none_is_longer_than_venices() -> None:
    assert matches("a*", "a" * MAX_DESCRIPTION)
    assert not matches("a*", "a" * (MAX_DESCRIPTION + 1))
    assert not matches("app", "app2")
    assert not matches("app$", "app\n")
