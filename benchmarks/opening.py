"""Seconds to open and decode tables, over the time in which Arrow reads the same file and casts it to numbers.

    scripts/bench opening [--wide 2000x3000] [--long 1000000x8]

Each table is opened in this process, without training; the times are those of the processor.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import csv, parquet

from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sources.manifest import manifest
from mmrun.data.store import open_column


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wide", default="2000x3000", help="rows x columns of a CSV file")
    parser.add_argument("--long", default="1000000x8", help="rows x columns of a Parquet file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, size in (("wide.csv", args.wide), ("long.parquet", args.long)):
            rows, columns = map(int, size.split("x"))
            file = Path(scratch) / name
            write_table(file, rows, columns)
            library, opened, decoded = measure(file)
            total = opened + decoded
            print(
                f"{name} {rows:,} x {columns:,}: opened in {opened:.1f} s, decoded in {decoded:.1f} s; Arrow "
                f"{library:.1f} s, ratio {total / library:.1f}",
                flush=True,
            )
    return 0


def write_table(file: Path, rows: int, columns: int) -> None:
    draw = np.random.default_rng(0)
    cells = {f"x{i}": draw.standard_normal(rows).round(6) for i in range(columns)}
    cells["label"] = np.where(cells["x0"] > 0, "up", "down")
    table = pyarrow.table(cells)
    if file.suffix == ".csv":
        csv.write_csv(table, file, csv.WriteOptions(quoting_style="needed"))
    else:
        parquet.write_table(table, file)


def measure(file: Path) -> tuple[float, float, float]:
    """Return the seconds in which Arrow reads a file, and in which it is opened and decoded here."""
    times = [time.process_time()]
    read = csv.read_csv if file.suffix == ".csv" else parquet.read_table
    for column in read(file).columns[:-1]:
        column.to_numpy()
    times.append(time.process_time())
    table = manifest(str(file))
    times.append(time.process_time())
    cells, column = Cells(), table.columns["tabular"]
    cells.fit(column, table.rows("train"))
    open_column(column, cells, "opening", file.parent / "cache", limit_bytes=1 << 34)
    times.append(time.process_time())
    library, opened, decoded = np.diff(times)
    return library, opened, decoded


if __name__ == "__main__":
    sys.exit(main())
