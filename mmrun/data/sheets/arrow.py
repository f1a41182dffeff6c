"""Reads Arrow files, and converts Arrow columns of any file into cells, by the features of Hugging Face data sets."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute, ipc, types

from mmrun.data.limits import check_row_count
from mmrun.data.packed import MIN_PACKED
from mmrun.data.sheets.chunks import Chunk, check_header
from mmrun.errors import DataError

FEATURES_KEY = b"huggingface"  # of the metadata of a schema, in Arrow and Parquet files that `datasets` wrote
CONTENT_FIELDS = {"bytes", "path"}  # of a struct that is an Image or Audio of Hugging Face

Cells = "list[object] | pyarrow.Array"
Features = Mapping[str, object]  # as dataset_info.json holds them


def read_arrow(path: Path, limit: int | None) -> Iterator[Chunk]:
    """Yield the rows of a file in the stream or the file format of Arrow, which is mapped, not loaded.

    Args:
        path: the file.
        limit: read only so many rows from the start; None: all.

    Raises:
        DataError: the file cannot be read.
    """
    start = 0
    try:
        with pyarrow.memory_map(str(path)) as source:
            for batch in _iterate_batches(source):
                check_row_count(start + len(batch), path.stat().st_size, path.name)
                part = batch if limit is None else batch.slice(0, limit - start)
                yield Chunk(np.arange(start + 1, start + len(part) + 1), convert_batch(part, path.name), {})
                start += len(part)
                if start == limit:
                    break
    except (pyarrow.ArrowException, OSError, OverflowError, EOFError) as error:
        raise DataError(
            f"{path.name}: is damaged or not an Arrow file ({type(error).__name__}); write it again"
        ) from None


def _iterate_batches(source: pyarrow.NativeFile) -> Iterator[pyarrow.RecordBatch]:
    try:
        yield from ipc.open_stream(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        reader = ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def convert_batch(batch: pyarrow.RecordBatch, file: str) -> "dict[str, list[object] | pyarrow.Array]":
    """Return the cells of some rows by column; objects become dotted columns, but pictures and sounds their bytes.

    Args:
        batch: the rows.
        file: their file's name.

    Raises:
        DataError: a column occurs twice, or a class has no name.
    """
    check_header(batch.schema.names, file)
    batch.validate(full=True)
    features = read_features(batch.schema)
    columns: dict[str, list[object] | pyarrow.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        columns |= _to_cells(name, column, features.get(name))
    return columns


def read_features(schema: pyarrow.Schema) -> Features:
    """Return the features of a Hugging Face data set, as far as a file holds them.

    Args:
        schema: of the file.
    """
    try:
        features = json.loads((schema.metadata or {})[FEATURES_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _to_cells(name: str, column: pyarrow.Array, feature: object) -> "dict[str, list[object] | pyarrow.Array]":
    """Return a column as it is if it holds plain values, else as Python objects; or the columns of its objects."""
    if isinstance(column, pyarrow.ExtensionArray):
        column = column.storage
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    names = _find_class_names(feature)
    if names is not None:
        column = _name_classes(name, column, names)
        kind = column.type
    if types.is_struct(kind) and {field.name for field in kind} == CONTENT_FIELDS:
        return {name: [_get_content(cell) for cell in column.to_pylist()]}
    if types.is_struct(kind):
        columns: dict[str, list[object] | pyarrow.Array] = {}
        for field, part in zip(kind, column.flatten(), strict=True):
            inner = feature.get(field.name) if isinstance(feature, dict) else None
            columns |= _to_cells(f"{name}.{field.name}", part, inner)
        return columns
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        column = compute.cast(column, pyarrow.string())
    elif types.is_decimal(kind):
        column = _convert_decimals(column)
    return {name: column if _is_plain(column.type) and len(column) >= MIN_PACKED else column.to_pylist()}


def _convert_decimals(column: pyarrow.Array) -> pyarrow.Array:
    """Return decimals as floats; whole ones as integers, or as text beyond 64 bits: they may be identifiers."""
    if column.type.scale > 0:
        return compute.cast(column, pyarrow.float64())
    try:
        return compute.cast(column, pyarrow.int64())
    except pyarrow.ArrowInvalid:
        return compute.cast(column, pyarrow.string())


def _find_class_names(feature: object) -> list[str] | None:
    """Return the names of a ClassLabel, or of a list of them; None for any other feature."""
    if isinstance(feature, list) and len(feature) == 1:  # how `datasets` wrote a list before version 4
        feature = feature[0]
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _find_class_names(feature.get("feature"))
    names = feature.get("names")
    is_class = feature.get("_type") == "ClassLabel" and isinstance(names, list)
    return [str(name) for name in names] if is_class and names else None


def _name_classes(name: str, column: pyarrow.Array, names: list[str]) -> pyarrow.Array:
    """Return class names in place of numbers, in a column of numbers or of lists; -1 is an unknown class."""
    if types.is_list(column.type) or types.is_large_list(column.type):
        lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        offsets = pyarrow.array(np.concatenate([[0], np.cumsum(lengths)]), pyarrow.int32())
        classes = _name_classes(name, column.flatten(), names)
        return pyarrow.ListArray.from_arrays(offsets, classes, mask=column.is_null())
    if not types.is_integer(column.type):
        return column
    numbers = column.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    unnamed = numbers[(numbers < -1) | (numbers >= len(names))]
    if len(unnamed):
        raise DataError(f"column '{name}': class {unnamed[0]} has no name, of {len(names)}; write the data set again")
    return pyarrow.array(names, pyarrow.string()).take(pyarrow.array(numbers, mask=numbers < 0))


def _get_content(cell: dict[str, object] | None) -> object:
    """Return the bytes of a picture or a sound, or the path of its file."""
    return None if cell is None else cell["bytes"] or cell["path"]


def _is_plain(kind: pyarrow.DataType) -> bool:
    is_text = types.is_string(kind) or types.is_large_string(kind)
    return bool(is_text or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
