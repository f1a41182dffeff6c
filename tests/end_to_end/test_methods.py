"""docs/methods.md names every method that may be chosen, and tests that exist."""

import re
from pathlib import Path

import pytest

from mmrun import compose
from mmrun.types import KINDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "methods.md").read_text("utf-8")
GROUPS = [
    *(f"{group}/{kind}" for group in ("encoder", "augment") for kind in KINDS),
    *("fusion", "objective", "balance", "augment", "adapter", "strategy"),
]
TESTS = {
    f"{file.name}::{name}"
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_method_is_named(group):
    named = set(re.findall(r"`(?:[\w*]+[/=])?(\w+)`", TEXT))
    assert [name for name in compose.list_options(group) if name not in named] == []


def test_the_tests_it_names_are_there():
    named = re.findall(r"`(test_\w+\.py::test_\w+)", TEXT)
    assert len(named) > 80
    assert [name for name in named if name not in TESTS] == []
