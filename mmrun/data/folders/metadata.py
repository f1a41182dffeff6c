"""Hugging Face's layout of files with a table beside them: metadata.csv, metadata.jsonl or metadata.parquet."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from mmrun.data.folders.classes import find_kind
from mmrun.data.folders.listing import Listing, describe_unused
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.tables import add_split
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.sheets.table_files import read_sheets
from mmrun.errors import DataError

NAMES = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}
FILE_NAME = "file_name"  # the column, or the end of the column's name, that holds names of files


def recognize(listing: Listing) -> bool:
    """Return whether a folder, or a folder in it, holds a metadata file."""
    return bool(_list_tables(listing))


def read(listing: Listing, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Read all metadata files; names of files start from the folder of each.

    Returns:
        `file_name` is called after the kind of the files, `left_file_name` is called left.

    Raises:
        DataError: a table has no such column, or cannot be read.
    """
    tables = _list_tables(listing)
    sheet = read_sheets(listing.name, {name: listing.root / listing.files[name] for name in tables}, limit, encoding)
    if not any(column.endswith(FILE_NAME) for column in sheet.columns):
        raise DataError(f"{listing.name}: {tables[0]} has no column '{FILE_NAME}'; add the name of each row's file")
    folders = [str(PurePosixPath(listing.files[name]).parent) for name in tables]
    columns: dict[str, PackedValues[object]] = {}
    named: set[str] = set()
    for name, column in sheet.columns.items():
        if name.endswith(FILE_NAME):
            column = _start_from_root(sheet, column, folders)
            for cell in column.list_different():
                named.update(map(str, cell if isinstance(cell, list) else [cell]))
            name = _rename(name, column)
        if name in columns:
            raise DataError(f"{listing.name}: {tables[0]} has two columns for '{name}'; rename one of them")
        columns[name] = column
    sheet = add_split(replace(sheet, columns=columns), [PurePosixPath(name).parent.name for name in tables])
    used = {*tables, *(name for name, cell in listing.files.items() if cell in named)}
    notes = [f"{listing.name}: read {', '.join(tables[:3])}, whose rows name files", *describe_unused(listing, used)]
    paths = {name: listing.root / listing.files[name] for name in tables}
    return Opened(sheet, listing.root, paths, notes=notes)


def _list_tables(listing: Listing) -> list[str]:
    return [name for name in listing.files if name.count("/") <= 1 and name.rpartition("/")[2] in NAMES]


def _start_from_root(sheet: Sheet, column: PackedValues[object], folders: list[str]) -> PackedValues[object]:
    """Return names of files, which start from the folder of their table, as paths from the root."""
    assert sheet.places is not None
    numbers = sheet.places.numbers.tolist()
    return PackedValues(_prepend_folder(folders[number], cell) for number, cell in zip(numbers, column, strict=True))


def _prepend_folder(folder: str, cell: object) -> object:
    if isinstance(cell, list):
        return [_prepend_folder(folder, item) for item in cell]
    return cell if not isinstance(cell, str) or folder == "." else f"{folder}/{cell}"


def _rename(name: str, cells: Iterable[object]) -> str:
    prefix = name.removesuffix(FILE_NAME).rstrip("_")
    kinds = {find_kind(cell) for cell in cells if isinstance(cell, str)}
    return prefix or (next(iter(kinds)) if len(kinds) == 1 else None) or FILE_NAME
