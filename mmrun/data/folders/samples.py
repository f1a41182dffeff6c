"""Samples as WebDataset writes them: files whose names are the same up to the first point are one row."""

from collections.abc import Container, Iterator, Mapping
from itertools import chain

import numpy as np

from mmrun.data.folders.classes import are_splits, find_kind
from mmrun.data.folders.listing import Listing, describe_unused
from mmrun.data.folders.opened import Opened
from mmrun.data.limits import MAX_TEXT_BYTES, parse_json
from mmrun.data.sheets.chunks import Row
from mmrun.data.sheets.json_rows import flatten
from mmrun.data.sheets.sheet import Places
from mmrun.data.sheets.table_files import build_sheet
from mmrun.data.subfiles import open_file
from mmrun.errors import DataError

INLINE = {"cls": "label", "txt": "text", "text": "text", "json": ""}  # read at once; by the end of the name, its column

Samples = dict[str, dict[str, str]]  # names of files by ending and by sample


def recognize(listing: Listing) -> bool:
    """Return whether files belong together by name, and some hold labels or descriptions."""
    samples = _group_files(listing)
    endings = set(chain.from_iterable(samples.values()))
    return bool(endings & {"cls", "json"}) and any(map(find_kind, listing.files)) and len(samples) < len(listing.files)


def read(listing: Listing, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Read samples.

    Returns:
        Columns id; by kind of file, or by what stands before the last point ("left" for 1.left.png); text of .txt
        files, label of .cls files, and the keys of .json files.

    Raises:
        DataError: there is no sample.
    """
    samples = _group_files(listing)
    columns = _name_columns(samples)
    splits = _find_splits(samples)
    rows = _iterate_rows(listing, samples, columns, splits)
    names = list(samples)
    derived = frozenset({"id", "split"} if splits else {"id"})
    sheet = build_sheet(listing.name, rows, limit, Places(names, np.arange(len(names))), derived)
    used: set[str] = set()
    for sample in samples.values():
        used |= {name for ending, name in sample.items() if ending in columns}
    files = [column for ending, column in columns.items() if _is_inline(ending)]
    endings = ", ".join(f".{ending}" for ending in columns)
    note = f"{listing.name}: read as samples of WebDataset, {len(names):,} rows with {endings}"
    contents = tuple(name for name in sheet.columns if name not in columns.values() or name in files)
    return Opened(sheet, listing.root, contents=contents, notes=[note, *describe_unused(listing, used)])


def _group_files(listing: Listing) -> Samples:
    samples: Samples = {}
    for name in listing.files:
        folder, slash, last = name.rpartition("/")
        stem, point, ending = last.partition(".")
        if point:
            samples.setdefault(folder + slash + stem, {})[ending.lower()] = name
    return samples


def _name_columns(samples: Samples) -> dict[str, str]:
    """Return the column of each ending; "" for objects, whose keys are columns."""
    columns: dict[str, str] = {}
    for ending in dict.fromkeys(chain.from_iterable(samples.values())):
        prefix, _, suffix = ending.rpartition(".")
        kind = INLINE.get(suffix, find_kind(f"x.{suffix}"))
        if kind is not None:
            columns[ending] = prefix or kind
    return columns


def _is_inline(ending: str) -> bool:
    return ending.rpartition(".")[2] in INLINE


def _find_splits(samples: Samples) -> dict[str, str]:
    """Return the split of each sample, where the names of all shards or folders are those of splits: train-000."""
    splits = {}
    for sample in samples:
        folders = sample.split("/")[:-1]
        names = [name for folder in folders if are_splits([name := strip_number(folder)])]
        if not names:
            return {}
        splits[sample] = names[0]
    return splits


def strip_number(name: str) -> str:
    """Return the name of a shard without its number: train for train-00000-of-00002.

    Args:
        name: of a file or folder, without suffix.
    """
    words = name.replace("_", "-").replace(".", "-").split("-")
    while len(words) > 1 and (words[-1].isdigit() or words[-1] == "of" or _is_hash(words[-1])):
        words.pop()
    return "-".join(words)


def _is_hash(word: str) -> bool:
    return len(word) == 16 and set(word) <= set("0123456789abcdef")


def _iterate_rows(
    listing: Listing, samples: Samples, columns: Mapping[str, str], splits: Mapping[str, str]
) -> Iterator[Row]:
    empty = dict.fromkeys(column for column in columns.values() if column)
    for number, (name, sample) in enumerate(samples.items()):
        cells: dict[str, object] = {"id": name, **empty}
        if splits:
            cells["split"] = splits[name]
        problem, reserved = _find_conflict(sample, columns), {"split", *empty}
        for ending, file in sample.items():
            try:
                read_cells = _read_cells(listing, file, ending, columns.get(ending))
                cells |= read_cells if columns.get(ending) else _avoid(reserved, read_cells)
            except DataError as error:
                problem = problem or str(error)
        yield Row(number + 1, cells, problem)


def _find_conflict(sample: Mapping[str, str], columns: Mapping[str, str]) -> str:
    """Return which two files of a sample would be one cell, or ""."""
    names: dict[str, str] = {}
    for ending, name in sample.items():
        column = columns.get(ending)
        if column and names.setdefault(column, name) != name:
            return f"{names[column]} and {name} would be one cell, '{column}'; rename one, as in 000.left.png"
    return ""


def _avoid(reserved: Container[str], cells: Mapping[str, object]) -> dict[str, object]:
    """Return cells of an object, those of a reserved name under another: a key "image" is no picture."""
    return {f"json.{name}" if name in reserved else name: cell for name, cell in cells.items()}


def _read_cells(listing: Listing, file: str, ending: str, column: str | None) -> dict[str, object]:
    """Return the cells that a file of a sample holds."""
    cell = listing.files[file]
    if column is None:
        return {}
    if not _is_inline(ending):
        return {column: cell}
    try:
        with open_file(listing.root / cell) as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise DataError(f"{file} is larger than {MAX_TEXT_BYTES >> 20} MiB; shorten it")
        if not ending.endswith("json"):
            return {column: content.decode("utf-8-sig").strip()}
        value = parse_json(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); correct it") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error})") from None
    if not isinstance(value, dict):
        return {column or "json": value}
    return flatten({column: value} if column else value)
