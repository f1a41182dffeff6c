"""Writes the rows of a manifest as they come, as CSV or Parquet."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from mmrun.data.benchmarks.benchmark import Row
from mmrun.errors import ConfigError, DataError, escape, nearest

SUFFIXES = (".csv", ".parquet")
BLOCK_ROWS = 1000  # of Parquet


def check_output(output: Path, suffix: str) -> None:
    """Check the name of the manifest.

    Args:
        output: that the user names.
        suffix: that the benchmark needs.

    Raises:
        ConfigError: its format is not written, or cannot hold the benchmark, or there is no such folder.
    """
    if output.suffix not in SUFFIXES:
        choices = f"{nearest(output.suffix, SUFFIXES)} (there are {', '.join(SUFFIXES)})"
        raise ConfigError(f"-o {output}: '{output.suffix}' is no format of a manifest{choices}")
    if suffix == ".parquet" and output.suffix != suffix:
        raise ConfigError(f"-o {output}: images lie in the cells of this manifest; name a .parquet file")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise ConfigError(f"-o {output}: is a folder; name a file")


def write_rows(path: Path, rows: Iterable[Row], suffix: str) -> None:
    """Write rows into a file.

    Args:
        path: of the file.
        rows: that all have the same columns.
        suffix: .csv or .parquet.

    Raises:
        DataError: a text holds half a character, which JSON can spell but no file can store.
    """
    try:
        if suffix == ".csv":
            _write_csv(path, rows)
        else:
            _write_parquet(path, rows)
    except UnicodeEncodeError as error:
        start = error.object[max(0, error.start - 20) : error.start]
        raise DataError(f"a text holds half a character after '{escape(start)}'; correct it in the source") from None


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            if number == 0:
                writer.writerow(row)
            writer.writerow(row.values())


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow
    from pyarrow import parquet

    blocks = _split_into_blocks(rows)
    first = next(blocks, [])
    schema = pyarrow.Table.from_pylist(first).schema
    for place, field in enumerate(schema):
        if pyarrow.types.is_null(field.type):
            schema = schema.set(place, field.with_type(pyarrow.string()))
    with parquet.ParquetWriter(path, schema) as writer:
        for block in chain([first], blocks):
            writer.write_table(pyarrow.Table.from_pylist(block, schema))


def _split_into_blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while block := list(islice(remaining, BLOCK_ROWS)):
        yield block
