"""CSV whose cells a spreadsheet does not run as formulas."""

import csv
import io
from collections.abc import Iterable

from mmrun.results.run_values import parse_number

FORMULA_STARTS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # what spreadsheets take for one, wide forms included


def write_csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table as CSV.

    Args:
        header: names of the columns.
        rows: cells; see `escape_formula`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(escape_formula, header))
    for row in rows:
        writer.writerow(map(escape_formula, row))
    return text.getvalue()


def escape_formula(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; numbers written as text stay."""
    is_formula = isinstance(cell, str) and cell.startswith(FORMULA_STARTS) and parse_number(cell) is None
    return f"'{cell}" if is_formula else cell
