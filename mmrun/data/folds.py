"""Cross-validation: a column of folds: one for testing, the next for validation, the others for training."""

import numpy as np

from mmrun.data.sheets.numbers import as_number
from mmrun.data.sheets.sheet import Sheet
from mmrun.errors import ConfigError, DataError

MIN_FOLDS = 3
MAX_FOLDS = 1000
EVERY_FOLD = -1  # of rows that are always for training, since their fold is empty
BOOKKEEPING = {  # columns that describe a division of the rows, and why they are no inputs
    "fold": "holds the folds of a cross-validation",
    "labelled": "holds shares of labelled rows",
}


def find_bookkeeping(sheet: Sheet, fold_column: str | None) -> dict[str, str]:
    """Return the columns that `mmrun data split` writes beside the split, with what they hold.

    Args:
        sheet: the file, or its first rows.
        fold_column: column of folds; None: there is none.
    """
    columns = {}
    if fold_column in sheet.columns and _has_folds(sheet, str(fold_column)):
        columns[str(fold_column)] = BOOKKEEPING["fold"]
    if "labelled" in sheet.columns and _has_shares(sheet, "labelled"):
        columns["labelled"] = BOOKKEEPING["labelled"]
    return columns


def _list_numbers(sheet: Sheet, column: str) -> list[float | None]:
    return [as_number(cell) for cell in sheet.columns[column].list_different()]


def _has_folds(sheet: Sheet, column: str) -> bool:
    """Return whether the cells are whole numbers from 0 on; which of them a part of the file has is left open."""
    numbers = _list_numbers(sheet, column)
    return bool(numbers) and all(number is not None and number in range(MAX_FOLDS) for number in numbers)


def _has_shares(sheet: Sheet, column: str) -> bool:
    numbers = _list_numbers(sheet, column)
    return bool(numbers) and all(number is not None and 0 < number <= 1 for number in numbers)


def parse_fold(cell: object) -> int:
    """Return the number of a fold.

    Args:
        cell: of the column of folds.

    Raises:
        DataError: the cell is no whole number from 0 on.
    """
    number = as_number(cell)
    if number is None or number not in range(MAX_FOLDS):
        raise DataError(f"'{cell}' is not the number of a fold; write 0, 1, 2 ..., or leave it empty: always train")
    return int(number)


def split_by_fold(folds: np.ndarray, fold: int, column: str) -> np.ndarray:
    """Return the split in which one fold is test, the next one val and all others train.

    Args:
        folds: [N] int64, from 0 on; EVERY_FOLD: always train.
        fold: the one for testing; after the last fold comes fold 0.
        column: name of the column of folds.

    Returns:
        [N] str, each one of SPLITS.

    Raises:
        ConfigError: there is no such fold.
        DataError: there are fewer than MIN_FOLDS folds, or one has no rows.
    """
    num_folds = int(folds.max()) + 1
    sizes = np.bincount(folds[folds >= 0], minlength=num_folds)
    if num_folds < MIN_FOLDS:
        raise DataError(
            f"column '{column}' has {num_folds} folds; a run needs {MIN_FOLDS} or more: one for testing, one for "
            "validation, the others for training"
        )
    if (sizes == 0).any():
        raise DataError(
            f"column '{column}': no row is in fold {sizes.argmin()}, though there is a fold {num_folds - 1}"
        )
    if fold >= num_folds:
        raise ConfigError(f"dataset.fold: {fold} is not among the folds of column '{column}', 0 to {num_folds - 1}")
    split = np.full(len(folds), "train", dtype="<U5")
    split[folds == fold] = "test"
    split[folds == (fold + 1) % num_folds] = "val"
    return split
