"""Every command of the examples' pages, verbatim, in a clone; the rows of the table that a page shows come out."""

import re
from itertools import takewhile

import pytest

from tests.clone import format_failures, run_page
from tests.shown_commands import EXAMPLES, FENCE


def list_rows(text):
    """Return the rows of tables of numbers, each as the cells before its first number."""
    rows = []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        names = tuple(takewhile(lambda cell: not cell[:1].isdigit(), cells))
        if 0 < len(names) < len(cells):
            rows.append(names)
    return rows


def test_the_examples_are_found():
    assert [page.parent.name for page in EXAMPLES] == ["driving", "medical", "questions", "sentiment"]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.parent.name)
def test_a_page_leads_from_data_to_its_table(clone, forked_programs, page):
    results = run_page(clone, forked_programs, page)
    assert not any(result.code != "0" for result in results), format_failures(results)
    printed = list_rows("\n".join(result.output for result in results))
    shown = list_rows("\n".join(text for language, text in FENCE.findall(page.read_text()) if language == "text"))
    assert len(shown) >= 2
    assert [row for row in shown if row not in printed] == []
