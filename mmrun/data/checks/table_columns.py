"""Checks the columns of a table: constant ones, identifiers, cells that do not fit; and finds rows that are similar."""

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mmrun.data.checks.contents import combine, number_cells
from mmrun.data.checks.finding import Finding, split_remedy
from mmrun.data.decode import stack_rows
from mmrun.data.packed import PackedValues, Records
from mmrun.data.preprocess.lengths import format_share
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.table import Table
from mmrun.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_SAME = 0.99  # share of training rows with the most frequent cell of a column, to go unmentioned
MIN_SAME_ROWS = 100  # training rows from which such a share is worth a warning
MIN_IDENTIFIERS = 20  # categories, if most rows have one of their own
MAX_USUAL = 2  # times as many rows may be equal as by chance
GRID = 1e-3  # standard deviations; numbers that differ by less are similar

Decoded = dict[str, np.ndarray]  # parts of Cells.decode, with a first axis of rows


def decode_records(cells: Cells, records: Records) -> tuple[Decoded, dict[int, str]]:
    """Decode all rows of a table.

    Args:
        cells: fitted to them.
        records: N rows.

    Returns:
        The parts of all rows, zeros where a row is missing or cannot be decoded; and the reason, by such a row.
    """
    decoded = cells.decode_rows(records)
    if decoded is not None:
        return decoded, {}
    blank = {
        "numeric": np.zeros(len(cells.numeric), dtype=np.float32),
        "missing": np.zeros(len(cells.numeric), dtype=bool),
        "categorical": np.zeros(len(cells.categories), dtype=np.int64),
    }
    rows, unreadable = [], {}
    for row, record in enumerate(records):
        try:
            rows.append(blank if record is None else cells.decode(record))
        except DataError as error:
            rows.append(blank)
            unreadable[row] = str(error)
    return stack_rows(rows, blank), unreadable


def check_columns(table: Table, name: str, cells: Cells) -> list[Finding]:
    """Report columns that are constant or nearly so, and those that look like identifiers.

    Args:
        table: the data set.
        name: of the modality.
        cells: fitted to it.
    """
    records = Records.from_rows(table.columns[name].values)
    rows = np.flatnonzero((table.split == "train") & table.columns[name].is_present())
    findings = [split_remedy("cells", f"{name}: {note}") for note in cells.notes]
    for label in [*cells.numeric, *cells.categories]:
        subject = f"{name}: column '{label}'"
        num_categories = len(cells.categories[label].names) if label in cells.categories else 0
        most_frequent, count, num_cells = _count_most_frequent(records.columns[label], rows)
        if count == num_cells:  # warned of by the table itself, as `train` does
            continue
        if count >= MAX_SAME * num_cells and num_cells >= MIN_SAME_ROWS:
            message = f"{subject} is '{most_frequent[:40]}' in {format_share(count / num_cells)} of the training rows"
            findings.append(Finding("constant", message, "it can hardly help"))
        elif num_categories > max(MIN_IDENTIFIERS, len(rows) // 2):
            message = f"{subject} has {num_categories} categories in {len(rows)} rows"
            findings.append(Finding("identifier", message, "is it an identifier? leave it out"))
    return findings


def find_similar_records(decoded: Decoded) -> np.ndarray:
    """Find pairs of rows with the same categories and nearly the same numbers.

    Numbers are compared on a grid, and on one that is shifted by half a cell.

    Args:
        decoded: parts of N rows.

    Returns:
        [P, 2] int64 numbers of rows; of a group of similar rows, enough pairs to connect it.
    """
    num_rows = len(decoded["numeric"])
    categories = combine([*decoded["categorical"].T, *decoded["missing"].T.astype(np.int64)], num_rows)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for shift in (0.0, 0.5):
        columns = (_number_on_grid(column, shift) for column in decoded["numeric"].T)  # few are read if rows differ
        keys = combine(chain([categories], columns), num_rows)
        order = np.argsort(keys, kind="stable")
        is_equal = keys[order[1:]] == keys[order[:-1]]
        pairs.append(np.stack([order[:-1][is_equal], order[1:][is_equal]], axis=1))
    return np.concatenate(pairs)


def _number_on_grid(numbers: np.ndarray, shift: float) -> np.ndarray:
    """Number the cells of a grid in which numbers lie [N]."""
    cells = np.floor(numbers.astype(np.float64) / GRID + shift)
    return np.unique(cells, return_inverse=True)[1]


def find_unusual_pairs(decoded: Decoded) -> np.ndarray:
    """Find similar rows as `find_similar_records` does; none where as many are similar by chance.

    Args:
        decoded: parts of N rows.
    """
    pairs = find_similar_records(decoded)
    if len(pairs) == 0:
        return pairs
    shuffled = {part: _shuffle_columns(values) for part, values in decoded.items()}
    return pairs if len(pairs) > MAX_USUAL * len(find_similar_records(shuffled)) else pairs[:0]


def repeats_by_chance(records: Records, contents: np.ndarray) -> bool:
    """Return whether rows that are equal are as frequent as if the columns had nothing to do with each other.

    Args:
        records: N rows.
        contents: number of each row's content [N].
    """
    repeated = _count_repeated(contents)
    if repeated == 0:
        return False
    columns = np.array([number_cells(cells) for cells in records.columns.values()]).T
    return repeated <= MAX_USUAL * _count_repeated(combine(_shuffle_columns(columns).T, len(columns)))


def _shuffle_columns(values: np.ndarray) -> np.ndarray:
    """Return the rows of a table [N, columns] with each column in an order of its own."""
    return np.random.default_rng(0).permuted(values, axis=0)


def _count_repeated(contents: np.ndarray) -> int:
    """Return how many rows have the number, at least -1, of another one."""
    counts = np.bincount(contents + 1)
    return int(counts[counts > 1].sum())


def encode_records(decoded: Decoded) -> "csr_matrix":
    """Return numbers, and a one for each category, as features [N, D].

    Args:
        decoded: parts of N rows.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.preprocessing import OneHotEncoder

    num_numbers = decoded["numeric"].shape[1]
    numbers = csr_matrix(np.clip(decoded["numeric"], -10, 10) * 5 / np.sqrt(max(1, num_numbers)))
    if decoded["categorical"].shape[1] == 0:
        return numbers
    return hstack([numbers, OneHotEncoder().fit_transform(decoded["categorical"])], format="csr")


def _count_most_frequent(cells: PackedValues[object], rows: np.ndarray) -> tuple[str, int, int]:
    """Return the most frequent cell of some rows, how many have it, and how many have any."""
    selected = cells.take(rows)
    encoded = selected.encode()
    if encoded is None:
        counts = Counter(str(cell) for cell in selected if cell is not None)
        cell, count = counts.most_common(1)[0] if counts else ("", 0)
        return cell, count, counts.total()
    numbers = np.bincount(encoded.codes[encoded.codes >= 0], minlength=1)
    cell = str(encoded.dictionary[int(numbers.argmax())].as_py()) if len(encoded.dictionary) else ""
    return cell, int(numbers.max()), int(numbers.sum())
