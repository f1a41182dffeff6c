"""Reads Parquet files by columns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute, types
from pyarrow.parquet import ParquetFile

from mmrun.data.limits import check_parquet
from mmrun.data.packed import MIN_PACKED
from mmrun.data.sheets.chunks import Chunk, check_header
from mmrun.errors import DataError

CHUNK_ROWS = 1 << 16  # read at a time


def read_parquet(path: Path, limit: int | None) -> Iterator[Chunk]:
    """Yield the rows of a file; objects in its cells become dotted columns, but pictures and sounds their bytes.

    Args:
        path: the file.
        limit: read only so many rows from the start; None: all.

    Raises:
        DataError: the file cannot be read.
    """
    start = 0
    try:
        with ParquetFile(path) as file:
            check_parquet(file.metadata, path.stat().st_size, path.name)
            check_header(file.schema_arrow.names, path.name)
            for batch in file.iter_batches(CHUNK_ROWS if limit is None else min(limit, CHUNK_ROWS)):
                part = batch if limit is None else batch.slice(0, limit - start)
                columns: dict[str, list[object] | pyarrow.Array] = {}
                for name, column in zip(part.schema.names, part.columns, strict=True):
                    columns |= _to_cells(name, column)
                yield Chunk(np.arange(start + 1, start + len(part) + 1), columns, {})
                start += len(part)
                if start == limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name}: is damaged or not a Parquet file ({type(error).__name__}); write it again"
        ) from None


def _to_cells(name: str, column: pyarrow.Array) -> "dict[str, list[object] | pyarrow.Array]":
    """Return a column as it is if it holds plain values, else as Python objects; or the columns of its objects."""
    kind = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}:  # Image and Audio of Hugging Face
        return {name: [_get_content(cell) for cell in column.to_pylist()]}
    if types.is_struct(kind):
        columns: dict[str, list[object] | pyarrow.Array] = {}
        for field, part in zip(kind, column.flatten(), strict=True):
            columns |= _to_cells(f"{name}.{field.name}", part)
        return columns
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        column = compute.cast(column, pyarrow.string())
    elif types.is_decimal(kind):
        column = compute.cast(column, pyarrow.float64())
    return {name: column if _is_plain(column.type) and len(column) >= MIN_PACKED else column.to_pylist()}


def _get_content(cell: dict[str, object] | None) -> object:
    """Return the bytes of a picture or a sound, or the path of its file."""
    return None if cell is None else cell["bytes"] or cell["path"]


def _is_plain(kind: pyarrow.DataType) -> bool:
    is_text = types.is_string(kind) or types.is_large_string(kind)
    return bool(is_text or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
