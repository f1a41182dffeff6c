"""Reads the first sheet of an Excel file that holds a table; needs the extra `excel`."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.data.limits import check_unpacked_size
from mmrun.data.names import shorten
from mmrun.data.sheets.chunks import Row, check_header, describe_nameless
from mmrun.errors import DataError
from mmrun.installation import format_pip_command

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

SAMPLE_LINES = 20  # first lines, from which a column of row numbers is recognised


def read_excel(path: Path) -> Iterator[Row]:
    """Yield the rows below the header, which is the first row that is not empty.

    Args:
        path: an .xlsx file.

    Raises:
        DataError: the file cannot be read, or openpyxl is not installed.
    """
    with _open_workbook(path) as workbook:
        rows = _iterate_rows(_choose_sheet(workbook))
        _, header = next(rows, (0, ()))
        names = _read_names(header)
        check_header(names, path.name)
        for line, cells in rows:
            yield _to_row(line, names, cells)


def describe_unread(path: Path) -> list[str]:
    """Return lines that name the sheets that are not read, and columns without a name; none if all is read.

    Args:
        path: an .xlsx file.

    Raises:
        DataError: as for `read_excel`.
    """
    with _open_workbook(path) as workbook:
        chosen = _choose_sheet(workbook)
        others = [repr(sheet.title) for sheet in workbook.worksheets if sheet is not chosen]
        rows = [cells for _, cells in islice(_iterate_rows(chosen), SAMPLE_LINES)]
    lines = [f"{path.name}: sheet {chosen.title!r} is read, and not {shorten(', '.join(others))}"] if others else []
    names = _read_names(rows[0]) if rows else []
    return lines + describe_nameless(names, [cells[0] for cells in rows[1:]], path.name)


@contextmanager
def _open_workbook(path: Path) -> "Iterator[Workbook]":
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        command = format_pip_command("install", "openpyxl")
        raise DataError(f"{path.name}: Excel files need openpyxl; install it with {command}") from None
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked_size(sum(info.file_size for info in archive.infolist()), path, "save it as CSV")
        workbook = load_workbook(path, read_only=True, data_only=True)
        try:
            yield workbook
        finally:
            workbook.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, OSError, IndexError, ValueError) as error:
        raise DataError(
            f"{path.name}: is damaged or not an Excel file ({type(error).__name__}); save it again"
        ) from None


def _choose_sheet(workbook: "Workbook") -> "Worksheet":
    """Return the first sheet with a row below its header, so that a page of remarks may stand before the table."""
    for sheet in workbook.worksheets:
        if len(list(islice(_iterate_rows(sheet), 2))) == 2:
            return sheet
    return workbook.worksheets[0]


def _iterate_rows(sheet: "Worksheet") -> Iterator[tuple[int, tuple[object, ...]]]:
    """Yield the number and the cells of each row that is not empty."""
    for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        if any(cell is not None for cell in cells):
            yield line, cells


def _read_names(header: tuple[object, ...]) -> list[str]:
    return ["" if name is None else str(name).strip() for name in header]


def _to_row(line: int, names: list[str], cells: tuple[object, ...]) -> Row:
    values = {name: _to_cell(cell) for name, cell in zip(names, cells, strict=False) if name}
    extra = [cell for cell in cells[len(names) :] if cell is not None]
    return Row(line, values, f"has {len(cells)} cells, but the header has {len(names)}" if extra else "")


def _to_cell(cell: object) -> object:
    return cell.isoformat() if isinstance(cell, datetime | date | time) else cell
