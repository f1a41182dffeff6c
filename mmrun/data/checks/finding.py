"""What a check reports: a kind, what is wrong, the rows, and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from mmrun.data.sheets.sheet import Locations
from mmrun.data.table import Table

Level = Literal["error", "warning"]  # a run rejects the data; or trains, but perhaps not on what the user means

DROPPED_BY_DEFAULT = ("unreadable", "duplicates", "leaks")  # kinds whose rows `mmrun data clean` leaves out
DROPPED_ON_REQUEST = (
    *("near-duplicates", "shared", "near-shared", "conflicts", "labels"),
    *("blank", "silent", "clipped", "not-finite", "empty"),
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a data set, or may be.

    Attributes:
        kind: names the check; for those of DROPPED_BY_DEFAULT and DROPPED_ON_REQUEST, the rows can be left out.
        message: what is wrong, one line.
        remedy: what to do; may be empty.
        level: error or warning.
        rows: numbers of the rows, ascending or the most suspicious first; empty if it concerns a column, a class or a
            split.
        where: where each of these rows stands, "file:row", with the reason where rows differ in it. Bad rows that
            were left out when the table was opened have a place here, but no number.
    """

    kind: str
    message: str
    remedy: str = ""
    level: Level = "warning"
    rows: Sequence[int] = ()
    where: Sequence[str] = ()


def split_remedy(kind: str, line: str) -> Finding:
    """Return a warning in one line, "what is wrong; what to do", as a finding.

    Args:
        kind: of the finding.
        line: the warning.
    """
    message, _, remedy = line.rpartition("; ")
    return Finding(kind, message, remedy) if message else Finding(kind, remedy)


def collect_rows(findings: Iterable[Finding]) -> set[int]:
    """Return the rows of several findings.

    Args:
        findings: of any kinds.
    """
    return set(chain.from_iterable(finding.rows for finding in findings))


def locate_rows(table: Table, rows: Sequence[int]) -> list[str]:
    """Return where rows stand as a whole, "my.csv:17".

    Args:
        table: the data set.
        rows: their numbers.
    """
    locations = next(iter(table.columns.values())).locations
    if isinstance(locations, Locations):
        return [locations.locate(row) for row in rows]
    return [f"row {row}" if locations is None else locations[row] for row in rows]
