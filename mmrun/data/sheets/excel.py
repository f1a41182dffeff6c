"""Reads the first sheet of an Excel file; needs the extra `excel`."""

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

from mmrun.data.sheets.chunks import Row
from mmrun.errors import DataError
from mmrun.installation import format_pip_command


def read_excel(path: Path) -> Iterator[Row]:
    """Yield the rows below the header, which is the first row that is not empty.

    Args:
        path: an .xlsx file.

    Raises:
        DataError: the file cannot be read, or openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        command = format_pip_command("install", "openpyxl")
        raise DataError(f"{path.name}: Excel files need openpyxl; install it with {command}") from None
    try:
        workbook = load_workbook(path, read_only=True, data_only=True)
        sheet = workbook.worksheets[0]
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
        header = next((cells for _, cells in rows if any(cell is not None for cell in cells)), ())
        names = ["" if name is None else str(name).strip() for name in header]
        for line, cells in rows:
            if any(cell is not None for cell in cells):
                yield _to_row(line, names, cells)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, OSError, IndexError, ValueError) as error:
        raise DataError(
            f"{path.name}: is damaged or not an Excel file ({type(error).__name__}); save it again"
        ) from None


def _to_row(line: int, names: list[str], cells: tuple[object, ...]) -> Row:
    values = {name: _to_cell(cell) for name, cell in zip(names, cells, strict=False) if name}
    extra = [cell for cell in cells[len(names) :] if cell is not None]
    return Row(line, values, f"has {len(cells)} cells, but the header has {len(names)}" if extra else "")


def _to_cell(cell: object) -> object:
    return cell.isoformat() if isinstance(cell, datetime | date | time) else cell
