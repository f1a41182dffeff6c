"""Guesses what the columns of an unknown file are: their kinds, and which ones may be targets or groups."""

from collections.abc import Sequence
from typing import NamedTuple

from mmrun.data.infer import infer_kind, infer_task
from mmrun.data.names import normalize_name
from mmrun.data.sheets.sheet import Reading, Sheet

TARGET_NAMES = ("label", "target", "class", "category", "diagnosis", "outcome", "rating", "score", "grade", "y")
GROUP_NAMES = ("patient", "subject", "speaker", "person", "participant", "user", "site", "session", "group")
OTHER_NAMES = ("id", "split", "fold")  # of columns that are no targets


class ColumnGuess(NamedTuple):
    """What one column of a file seems to be.

    Attributes:
        name: of the column.
        kind: of a modality that reads it; "" if it is empty.
        reason: why.
        num_different: number of different cells.
        empty: share of the cells that are empty.
        task: if it is a target; "" if it cannot be one.
    """

    name: str
    kind: str
    reason: str
    num_different: int
    empty: float
    task: str


class Survey(NamedTuple):
    """What the first rows of a file seem to be.

    Attributes:
        columns: in the order of the file.
        targets: names of likely targets, the likeliest first.
        groups: names of columns whose rows may belong together.
        notes: how cells are read that are not written plainly, and what may be a mistake; one line each.
    """

    columns: list[ColumnGuess]
    targets: list[str]
    groups: list[str]
    notes: list[str]


def survey(sheet: Sheet) -> Survey:
    """Guess what the columns of a file are.

    Args:
        sheet: the file, or its first rows.
    """
    columns = [_guess_column(name, list(cells), sheet.readings.get(name)) for name, cells in sheet.columns.items()]
    candidates = [column for column in columns if column.task and not has_word(column.name, OTHER_NAMES)]
    ranked = sorted(candidates, key=lambda column: _rank_target(column, columns))
    groups = [column.name for column in columns if has_word(column.name, GROUP_NAMES) and column.num_different > 2]
    targets = [column.name for column in ranked if column.name not in groups]
    notes = _describe_problems(sheet)
    for reading in sheet.readings.values():
        notes += filter(None, (reading.note, reading.warning, reading.error))
    return Survey(columns, targets, groups, notes)


def _describe_problems(sheet: Sheet) -> list[str]:
    """Describe how many rows cannot be read: their cells were counted as empty."""
    if not sheet.problems:
        return []
    row, problem = min(sheet.problems.items())
    count = f"{len(sheet.problems):,} of the first {len(sheet.lines):,} rows cannot be read"
    return [f"{count}; the first is {sheet.locate_rows()[row]}: {problem}"]


def _guess_column(name: str, cells: Sequence[object], reading: Reading | None) -> ColumnGuess:
    filled = [cell for cell in cells if cell is not None]
    empty = 1 - len(filled) / len(cells)
    if not filled:
        return ColumnGuess(name, "", "empty cells", 0, empty, "")
    kind, reason = infer_kind(filled, name)
    if reading is not None and reading.kind:
        kind, reason = "text" if reading.kind == "text" else "tabular", f"{reading.format or reading.kind}"
    num_different = len(set(map(normalize_name, filled)))
    return ColumnGuess(name, kind, reason, num_different, empty, _guess_task(filled, kind, num_different))


def _guess_task(cells: list[object], kind: str, num_different: int) -> str:
    """Return the task if the column were a target; "" where it names files or rows, is prose, or never differs."""
    if num_different < 2 or kind != "tabular":
        return ""
    task = infer_task(cells).task
    is_row_number = num_different == len(cells) and all(normalize_name(cell).isdecimal() for cell in cells)
    return "" if is_row_number else task


def _rank_target(column: ColumnGuess, columns: Sequence[ColumnGuess]) -> tuple[bool, bool, int]:
    """Return what sorts likely targets first: by name, then classes before numbers, then the last column."""
    is_named = has_word(column.name, TARGET_NAMES)
    return not is_named, column.task == "regression", len(columns) - columns.index(column)


def has_word(name: str, words: Sequence[str]) -> bool:
    """Return whether a column is called by one of some words, alone or among others.

    Args:
        name: of the column.
        words: in lower case.
    """
    parts = name.lower().replace("-", "_").replace(" ", "_").split("_")
    return any(word in parts for word in words)
