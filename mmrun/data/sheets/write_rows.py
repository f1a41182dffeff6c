"""Writes some rows of a file anew, as CSV, JSON Lines or Parquet."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmrun.data.packed import PackedValues
from mmrun.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
WRITABLE = (*DELIMITERS, ".jsonl", ".parquet")
NUMBERS = {int, float}

Columns = Mapping[str, PackedValues[object]]


def check_cells(columns: Columns, suffix: str) -> None:
    """Check that a format can hold all cells.

    Args:
        columns: of a file, by name.
        suffix: of the format, one of WRITABLE.

    Raises:
        DataError: it cannot; the message names one that can.
    """
    for name, column in columns.items():
        types = {type(cell) for cell in column} - {type(None)}
        has_bytes = bytes in types
        if suffix == ".parquet":
            if len(types) > 1 and not types <= NUMBERS:
                raise DataError(f"column '{name}' holds cells of several types; name a .jsonl file")
        elif suffix == ".jsonl":
            if not types <= {str, int, float, bool, list, dict}:
                raise DataError(f"column '{name}' holds {'bytes' if has_bytes else 'dates'}; name a .parquet file")
        elif types & {list, dict, bytes}:
            better = ".parquet" if has_bytes else ".jsonl"
            raise DataError(f"column '{name}' holds {'bytes' if has_bytes else 'lists'}; name a {better} file")


def write_rows(columns: Columns, rows: np.ndarray, file: Path, suffix: str) -> None:
    """Write rows with all their cells as they are.

    Args:
        columns: of the whole file, by name, for which `check_cells` raised nothing; an empty cell is None.
        rows: numbers of the rows to write, ascending [n].
        file: to write.
        suffix: of the format, one of WRITABLE.
    """
    selected = {name: column.take(rows) for name, column in columns.items()}
    if suffix == ".parquet":
        _write_parquet(selected, file)
        return
    with open(file, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        if suffix == ".jsonl":
            stream.writelines(_format_objects(selected))
        else:
            writer = csv.writer(stream, delimiter=DELIMITERS[suffix], lineterminator="\n")
            writer.writerow(selected)
            writer.writerows(_format_cells(selected))


def _format_cells(columns: Columns) -> Iterator[Sequence[object]]:
    for cells in zip(*columns.values(), strict=True):
        yield [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]


def _format_objects(columns: Columns) -> Iterator[str]:
    for cells in zip(*columns.values(), strict=True):
        present = {name: cell for name, cell in zip(columns, cells, strict=True) if cell is not None}
        yield f"{json.dumps(present, ensure_ascii=False)}\n"


def _write_parquet(columns: Columns, file: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: list(column) for name, column in columns.items()}), file)
