"""Reads Parquet files by columns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow.parquet import ParquetFile

from mmrun.data.limits import check_row_count
from mmrun.data.sheets.arrow import convert_batch
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
            check_row_count(file.metadata.num_rows, path.stat().st_size, path.name)
            check_header(file.schema_arrow.names, path.name)
            for batch in file.iter_batches(CHUNK_ROWS if limit is None else min(limit, CHUNK_ROWS)):
                part = batch if limit is None else batch.slice(0, limit - start)
                yield Chunk(np.arange(start + 1, start + len(part) + 1), convert_batch(part, path.name), {})
                start += len(part)
                if start == limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name}: is damaged or not a Parquet file ({type(error).__name__}); write it again"
        ) from None
