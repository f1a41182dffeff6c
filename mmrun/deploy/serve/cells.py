"""Reads the cells of a request. Files come as their content; nothing in a cell names a file or address."""

import base64
import binascii
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrun.data import limits
from mmrun.data.items import ItemList
from mmrun.data.preprocess.series_files import read_numbers
from mmrun.data.sheets.encoding import detect_unicode
from mmrun.data.sheets.numbers import parse_series
from mmrun.deploy.serve.problems import RequestError, from_message
from mmrun.deploy.serve.schema import Field, Schema
from mmrun.deploy.serve.scratch import RequestFiles
from mmrun.errors import DataError, nearest

ID = "id"
DATA_URL = re.compile(r"data:[^,;]{0,100}(;[^,;]{0,100}){0,4};base64,", re.ASCII)
SUFFIXES = {  # by what a file has at a place
    (0, b"\x93NUMPY"): ".npy",
    (128, b"DICM"): ".dcm",
    (0, b"0       "): ".edf",
    (0, b"\xffBIOSEMI"): ".bdf",
    (0, b"ply"): ".ply",
    (0, b"# .PCD"): ".pcd",
}

Cell = object  # str, number, bool, list, dict, bytes of an uploaded file, or None
Value = str | int | float | bool | bytes | Path | np.ndarray | ItemList  # of a cell that was read


class ReadRow(NamedTuple):
    """One row of a request.

    Attributes:
        id: that the client gave, or its number.
        values: by column; a column without a value is missing.
        ignored: names of targets that the row has.
    """

    id: str
    values: dict[str, Value]
    ignored: list[str]


def read_rows(schema: Schema, rows: Sequence[object], files: RequestFiles) -> list[ReadRow]:
    """Read the rows of a request.

    Args:
        schema: of the run.
        rows: objects with cells by column.
        files: writes those that came as their content.

    Raises:
        RequestError: a row cannot be read.
    """
    return [_read_row(schema, row, number, files) for number, row in enumerate(rows)]


def _read_row(schema: Schema, row: object, number: int, files: RequestFiles) -> ReadRow:
    place = f"rows[{number}]"
    if not isinstance(row, Mapping):
        raise RequestError(422, place, f"is {describe_type(row)}", "send an object with cells by column")
    values: dict[str, Value] = {}
    ignored: list[str] = []
    targets = {target.name for target in schema.targets}
    for name, cell in _flatten(schema, row, place).items():
        column = schema.fields.get(name)
        if column is None and name == ID:
            continue
        if column is None and name in targets:
            ignored.append(name)
            continue
        if column is None:
            raise _unknown_column(schema, place, name)
        where = f"{place}.{name}"
        value = _read_cell(column, cell, where, files)
        if value is None:
            continue
        if column.name in values:
            raise RequestError(422, where, f"is given twice, also as '{column.name}'", "send it once")
        values[column.name] = value
    if not values:
        known = ", ".join(schema.fields)
        raise RequestError(422, place, "has no modality", f"fill in at least one of {known}")
    return ReadRow(_read_id(row, number, place), values, ignored)


def _flatten(schema: Schema, row: Mapping[str, Cell], place: str) -> dict[str, Cell]:
    """Return the cells of a row, with those of an object that is named like a tabular modality."""
    cells: dict[str, Cell] = {}
    for name, cell in row.items():
        nested: Mapping[str, Cell] = {name: cell}
        if name in schema.tables and name not in schema.fields and isinstance(cell, Mapping):
            nested = cell
            columns = [column.name for column in schema.tables[name].fields]
            for key in nested:
                if key not in columns:
                    mend = f"send {', '.join(columns)}"
                    raise RequestError(422, f"{place}.{name}.{key}", f"is no column{nearest(key, columns)}", mend)
        for key, value in nested.items():
            if key in cells:
                raise RequestError(422, f"{place}.{key}", "is given twice", "send it once")
            cells[key] = value
    return cells


def _unknown_column(schema: Schema, place: str, name: str) -> RequestError:
    known = [*schema.fields, *schema.tables]
    mend = f"send {', '.join(dict.fromkeys(known))}; GET /schema describes them"
    return RequestError(422, f"{place}.{name}", f"is no column of the run{nearest(name, known)}", mend)


def _read_id(row: Mapping[str, Cell], number: int, place: str) -> str:
    name = row.get(ID)
    if name is None:
        return str(number)
    if not isinstance(name, str | int) or len(str(name)) > 200:
        raise RequestError(422, f"{place}.{ID}", "is no name of up to 200 letters", "send a short string or an integer")
    return _check_unicode(str(name), f"{place}.{ID}")


def _read_cell(column: Field, cell: Cell, where: str, files: RequestFiles) -> Value | None:
    """Return the value of a cell; None where it is empty."""
    if cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, bytes) and not cell):
        return None
    if isinstance(cell, float) and np.isnan(cell):
        return None
    if isinstance(cell, str):
        _check_unicode(cell, where)
    try:
        if column.type in ("image", "audio", "video", "points"):
            if column.is_list and isinstance(cell, list) and cell:
                return _read_items(column, cell, where, files)
            return _read_file(column, cell, where, files)
        if column.type == "series":
            return _read_series(cell, where, files)
        if column.type == "text":
            return _read_text(cell, where)
    except DataError as error:
        raise from_message(where, str(error)) from None
    if not isinstance(cell, str | int | float | bool):
        raise RequestError(422, where, f"is {describe_type(cell)}", f"send a {column.type} as a number or string")
    return _check_number(cell, where)


def _read_items(column: Field, cells: Sequence[Cell], where: str, files: RequestFiles) -> ItemList:
    """Write several pictures or sounds of one cell."""
    if len(cells) > limits.MAX_ITEMS:
        what = f"has {len(cells):,} items, more than {limits.MAX_ITEMS}"
        raise RequestError(422, where, what, "send fewer; the run reads the first few")
    return ItemList(_read_file(column, cell, f"{where}[{number}]", files) for number, cell in enumerate(cells))


def _read_file(column: Field, cell: Cell, where: str, files: RequestFiles) -> Path:
    """Write the content of a picture, sound or point cloud."""
    content = _decode_base64(cell, column, where)
    return files.write(content, infer_suffix(content, ".bin" if column.type == "points" else ""))


def infer_suffix(content: bytes, default: str = "") -> str:
    """Return the suffix by which decoders know a file.

    Args:
        content: of the file.
        default: of other files, which are known by their content.
    """
    for (place, mark), suffix in SUFFIXES.items():
        if content[place : place + len(mark)] == mark:
            return suffix
    return default


def _check_number(cell: str | int | float | bool, where: str) -> Value:
    """Refuse integers beyond floating point."""
    try:
        if isinstance(cell, int):
            float(cell)
    except OverflowError:
        raise RequestError(422, where, "is beyond the range of numbers", "send a smaller number") from None
    return cell


def _check_unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(422, where, "has half of a surrogate pair", "send valid Unicode") from None
    return text


def _decode_base64(cell: Cell, column: Field, where: str) -> bytes:
    """Return the content of a file."""
    if isinstance(cell, bytes):
        return cell
    mend = f"send the content of the {column.type} as base64 or as a data URL; paths and addresses are not opened"
    if not isinstance(cell, str):
        raise RequestError(422, where, f"is {describe_type(cell)}", mend)
    match = DATA_URL.match(cell)
    encoded = cell[match.end() :] if match else cell
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, where, f"is not base64: {encoded[:40]!r}", mend) from None
    if not content:
        raise RequestError(422, where, "has no content", mend)
    return content


def _read_series(cell: Cell, where: str, files: RequestFiles) -> Value:
    if isinstance(cell, bytes):
        return files.write(cell, infer_suffix(cell, ".csv"))
    numbers = cell
    if isinstance(cell, str):
        numbers = parse_series(cell)
        if numbers is None:
            numbers = _parse_list(cell, where)
    if not isinstance(numbers, list | np.ndarray):
        raise RequestError(422, where, f"is {describe_type(cell)}", "send a list of numbers, or one for each channel")
    try:
        return read_numbers(numbers).astype(np.float32)
    except OverflowError:
        raise RequestError(422, where, "has a number beyond the range of numbers", "send smaller numbers") from None


def _parse_list(text: str, where: str) -> object:
    try:
        return limits.parse_json(text)
    except ValueError:
        raise RequestError(422, where, f"is no series: {text[:40]!r}", "send [1.5, 2, ...]") from None


def _read_text(cell: Cell, where: str) -> str:
    if isinstance(cell, bytes):
        try:
            return io.TextIOWrapper(io.BytesIO(cell), detect_unicode(cell[:4096]), newline="").read()
        except UnicodeDecodeError as error:
            raise RequestError(422, where, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    if isinstance(cell, list | dict):
        raise RequestError(422, where, f"is {describe_type(cell)}", "send a string")
    return str(cell)


def describe_type(value: object) -> str:
    """Return what a JSON value is, with its article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", bytes: "a file"}
    return names.get(type(value), "null" if value is None else "a number")
