"""Folders of tables: one beside the files that it names, or shards of one, by split: train-00000-of-00002.parquet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mmrun.data.folders.classes import are_splits
from mmrun.data.folders.listing import Listing, list_folder
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.samples import strip_number
from mmrun.data.packed import PackedValues
from mmrun.data.sheets import csv_rows, excel
from mmrun.data.sheets.csv_rows import SAMPLE_LINES
from mmrun.data.sheets.encoding import choose_encoding
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.sheets.table_files import CSV_SUFFIXES, SUFFIXES, read_sheet, read_sheets
from mmrun.errors import DataError

TABLE_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".txt")  # which in a folder is a text
MANIFEST = "manifest"  # the table that takes precedence
NOT_DATA = {"dataset_info.json", "dataset_infos.json", "state.json", "package.json"}  # what others leave beside data
DATA_FOLDER = "data"  # in which the Hugging Face hub keeps Parquet files


def open_table(path: Path, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Open one table.

    Args:
        path: of the file.
        limit: number of rows, from the start; None: all.
        encoding: of a text file that is not Unicode.

    Raises:
        DataError: it cannot be read.
    """
    sheet = read_sheet(path, limit, encoding)
    return Opened(sheet, path.parent, {path.name: path}, notes=_describe_unread(path, encoding))


def _describe_unread(path: Path, encoding: str | None) -> list[str]:
    """Return a line about what of a table is not read, or none."""
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        return excel.describe_unread(path)
    return csv_rows.describe_unread(path, choose_encoding(path, encoding)) if suffix in CSV_SUFFIXES else []


def locate_table(path: str, hint: str) -> Path:
    """Return the file of a single table.

    Args:
        path: of the file, or of a folder with one table, or with a manifest.
        hint: ends the error message if there is none.

    Raises:
        DataError: there is no such file, or there are several.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        listing = list_folder(file)
        names = [name for name in list_tables(listing) if PurePosixPath(name).stem == MANIFEST] or list_tables(listing)
        if len(names) != 1:
            raise DataError(f"{path}: holds {len(names)} tables, not one; {hint}")
        return file / names[0]
    if not file.is_file():
        raise DataError(f"dataset.path: {path} does not exist; {hint}")
    return file


def recognize(listing: Listing) -> bool:
    """Return whether tables lie at the top of a folder, or in folders that are called as splits."""
    return bool(list_tables(listing))


def has_manifest(listing: Listing) -> bool:
    """Return whether a folder holds a table that is called manifest, which takes precedence.

    Args:
        listing: of the folder.
    """
    return any(f"{MANIFEST}{suffix}" in listing.files for suffix in TABLE_SUFFIXES)


def names_files(listing: Listing) -> bool:
    """Return whether a table of a folder names files of the folder, or cannot be read and must not be ignored.

    Args:
        listing: of the folder, which has tables.
    """
    try:
        sheet = read_sheet(listing.root / listing.files[list_tables(listing)[0]], SAMPLE_LINES)
    except DataError:
        return True
    names = {PurePosixPath(name).name for name in listing.files}
    for column in sheet.columns.values():
        if any(isinstance(cell, str) and PurePosixPath(cell).name in names for cell in column):
            return True
    return False


def read(listing: Listing, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Read the tables of a folder as one. File names in their cells start from the folder.

    Raises:
        DataError: they have different columns, or cannot be read.
    """
    if has_manifest(listing):
        name = next(name for name in listing.files if PurePosixPath(name).stem == MANIFEST and "/" not in name)
        return open_table(listing.root / listing.files[name], limit, encoding)
    tables = _choose_tables(listing, list_tables(listing))
    files = {name: listing.root / listing.files[name] for name in tables}
    notes = [_describe(listing, tables)]
    if len(files) == 1:
        [path] = files.values()
        opened = open_table(path, limit, encoding)
        return replace(opened, root=path.parent, notes=[*notes, *opened.notes])
    sheet = read_sheets(listing.name, files, limit, encoding)
    notes += _describe_unread(next(iter(files.values())), encoding)  # the others have the same columns
    if any(name.count("/") for name in files):
        root = listing.root / PurePosixPath(listing.files[tables[0]]).parents[tables[0].count("/")]
    else:
        root = next(iter(files.values())).parent
    return Opened(add_split(sheet, [_name_split(name) for name in tables]), root, files, notes=notes)


def add_split(sheet: Sheet, names: Sequence[str]) -> Sheet:
    """Add a column that holds the split of each row, if the names of files or folders say it.

    Args:
        sheet: of several files.
        names: a split by file.

    Returns:
        The sheet as it is, if it has such a column already, or not all names are those of splits.
    """
    if sheet.places is None or "split" in sheet.columns or not are_splits(names):
        return sheet
    column: PackedValues[object] = PackedValues.from_codes(list[object](names), sheet.places.numbers)
    return replace(sheet, columns={**sheet.columns, "split": column}, derived=sheet.derived | {"split"})


def list_tables(listing: Listing) -> list[str]:
    """Return the tables at the top, in the folder data, or in folders of splits.

    Args:
        listing: of the folder.
    """
    tables = []
    for name in listing.files:
        if name.lower().endswith(TABLE_SUFFIXES) and name.count("/") <= 1:
            folder, _, last = name.rpartition("/")
            if last not in NOT_DATA and (folder in ("", DATA_FOLDER) or are_splits([folder])):
                tables.append(name)
    return tables


def _choose_tables(listing: Listing, tables: list[str]) -> list[str]:
    """Return the tables that are the data: those called after splits, or all."""
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in tables)
    if len(suffixes) > 1:
        names = ", ".join(tables[:4])
        raise DataError(f"{listing.name}: has tables of several formats ({names}); name one of them, dataset.path=FILE")
    by_split = [name for name in tables if are_splits([_name_split(name)])]
    has_train = any(_name_split(name).lower().startswith("tr") for name in by_split)
    return by_split if has_train else tables


def _name_split(table: str) -> str:
    """Return the split that a table is called after, or its folder: train for train-00000-of-00002.parquet."""
    path = PurePosixPath(table)
    folder = path.parent.name
    return folder if are_splits([folder]) else strip_number(path.stem)


def _describe(listing: Listing, tables: Sequence[str]) -> str:
    unread = [name for name in list_tables(listing) if name not in tables]
    names = tables[0] if len(tables) == 1 else f"{tables[0]}, ..."
    shown = names if len(tables) == 1 else f"{len(tables)} tables, {names}"
    return f"{listing.name}: read {shown}" + (f", not {', '.join(unread[:3])}" if unread else "")
