"""Values of JSON files that do not have the layout of their type."""

from typing import Any, Literal, NotRequired, TypedDict

import pytest

from mmrun.results.shapes import find_mismatch


class Cost(TypedDict):
    seconds: float | None
    unit: NotRequired[Literal["s", "min"]]


class Run(TypedDict):
    name: str
    costs: dict[str, Cost]
    rows: list[int]
    other: Any


GOOD = {"name": "r", "costs": {"train": {"seconds": 1.5, "unit": "s"}}, "rows": [1, 2], "other": object()}


def test_a_value_of_its_layout_has_no_mismatch():
    assert find_mismatch(GOOD, Run) is None
    assert find_mismatch({**GOOD, "new": 1, "costs": {"train": {"seconds": None}}}, Run) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": 3}, "name: expected a string, not 3"),
        ({"rows": [1, True]}, "rows[1]: expected a number, not True"),
        ({"rows": {"a": 1}}, "rows: expected a list, not {'a': 1}"),
        ({"costs": [1]}, "costs: expected a mapping, not [1]"),
        ({"costs": {"train": {}}}, "costs.train.seconds: is missing"),
        ({"costs": {"train": {"seconds": "high"}}}, "costs.train.seconds: expected a number or null, not 'high'"),
        (
            {"costs": {"train": {"seconds": 10**400}}},
            f"costs.train.seconds: expected a number or null, not 1{'0' * 39}...",
        ),
        ({"costs": {"train": {"seconds": 1.0, "unit": "h"}}}, "costs.train.unit: expected one of s, min, not 'h'"),
    ],
)
def test_the_first_mismatch_is_named(change, problem):
    assert find_mismatch({**GOOD, **change}, Run) == problem


def test_a_file_of_another_kind():
    assert find_mismatch([], Run) == "the file: expected a mapping, not []"
