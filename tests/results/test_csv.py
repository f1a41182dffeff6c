"""Cells of CSV files are no formulas."""

import pytest

from mmrun.results.csv import escape_formula, write_csv


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-x", "@sum", "\uff1dA1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(cell):
    assert escape_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-0.5", "+3", "plain", -0.5, None])
def test_numbers_and_words_stay(cell):
    assert escape_formula(cell) == cell


def test_a_table_is_written_line_by_line():
    assert write_csv(["a", "=b"], [[1, "x,y"], [None, '"']]) == 'a,\'=b\n1,"x,y"\n,""""\n'
