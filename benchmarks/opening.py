"""Processor seconds to open, decode and judge data, over those that the libraries at hand need for the same work.

    scripts/bench opening [--wide 2000x3000] [--long 1000000x8] [--texts 50000] [--classes 2000] [--pictures 500]

    wide      a CSV file of numbers; Arrow reads it and casts it to numbers
    long      a Parquet file of numbers, with the digests of its rows; Arrow reads it
    texts     of 120 words; `encode_batch` of the tokenizer
    classes   AUROC and average precision of 4,000 rows; scikit-learn computes both of each class
    pictures  JPEGs of 800 x 600, decoded to 224 pixels; Pillow decodes them at their full resolution

0 leaves a part out. All is done in this process, without training.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import csv, parquet
from sklearn.metrics import average_precision_score, roc_auc_score

from mmrun.data.file_digests import FileDigests
from mmrun.data.packed import PackedValues
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.row_digests import record_data
from mmrun.data.sources.manifest import manifest
from mmrun.data.store import open_column
from mmrun.data.table import Column
from mmrun.tasks.metrics import ranking_metrics

PLENTY = 1 << 36  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wide", default="2000x3000", help="rows x columns")
    parser.add_argument("--long", default="1000000x8", help="rows x columns")
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, size in (("wide.csv", args.wide), ("long.parquet", args.long)):
            if size != "0":
                measure_table(folder / name, *map(int, size.split("x")))
        if args.texts:
            measure_texts(folder, args.texts)
        if args.classes:
            measure_classes(args.classes)
        if args.pictures:
            measure_pictures(folder, args.pictures)
    return 0


def report(what: str, ours: float, library: str, theirs: float) -> None:
    ratio = f"{ours:.1f} s; {library} {theirs:.1f} s, ratio {ours / theirs:.2f}"
    print(f"{what}: {ratio} (load {os.getloadavg()[0]:.1f})", flush=True)


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure_table(file: Path, rows: int, columns: int) -> None:
    write_table(file, rows, columns)
    read = csv.read_csv if file.suffix == ".csv" else parquet.read_table

    def read_with_arrow() -> None:
        for column in read(file).columns[:-1]:
            column.to_numpy()

    read_with_arrow()  # imports what it needs
    library = timed(read_with_arrow)
    times = [time.process_time()]
    table = manifest(str(file))
    times.append(time.process_time())
    record_data(table, FileDigests())
    times.append(time.process_time())
    cells, column = Cells(), table.columns["tabular"]
    cells.fit(column, table.rows("train"))
    open_column(column, cells, "opening", file.parent / "cache", PLENTY)
    times.append(time.process_time())
    opened, digested, decoded = np.diff(times)
    parts = f"opened {opened:.1f} s, digested {digested:.1f} s, decoded {decoded:.1f} s"
    report(f"{file.name} {rows:,} x {columns:,}: {parts}", times[-1] - times[0], "Arrow", library)


def write_table(file: Path, rows: int, columns: int) -> None:
    draw = np.random.default_rng(0)
    cells = {f"x{i}": draw.standard_normal(rows).round(6) for i in range(columns)}
    cells["label"] = np.where(cells["x0"] > 0, "up", "down")
    table = pyarrow.table(cells)
    if file.suffix == ".csv":
        csv.write_csv(table, file, csv.WriteOptions(quoting_style="needed"))
    else:
        parquet.write_table(table, file)


def measure_texts(folder: Path, rows: int) -> None:
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(draw.choice(letters, draw.integers(3, 9))) for _ in range(8000)])
    share = 1 / np.arange(1, len(words) + 1)
    texts = [" ".join(row) for row in draw.choice(words, (rows, 120), p=share / share.sum())]
    column, tokens = Column("text", PackedValues(texts)), Tokens()
    tokens.fit(column, np.arange(rows))
    theirs = timed(lambda: tokens._tokenizer.encode_batch(texts))
    ours = timed(lambda: open_column(column, tokens, "texts", folder / "cache", PLENTY))
    report(f"{rows:,} texts tokenized", ours, "encode_batch", theirs)


def measure_classes(num_classes: int) -> None:
    draw = np.random.default_rng(0)
    scores = draw.random((4000, num_classes)).astype(np.float32)
    truth = draw.integers(0, num_classes, 4000)[:, None] == np.arange(num_classes)

    def compute_by_class() -> None:
        for number in np.flatnonzero(truth.any(axis=0)):
            roc_auc_score(truth[:, number], scores[:, number])
            average_precision_score(truth[:, number], scores[:, number])

    ours = timed(lambda: ranking_metrics(scores, truth, np.ones_like(truth)))
    report(f"curves of {num_classes:,} classes", ours, "scikit-learn", timed(compute_by_class))


def measure_pictures(folder: Path, rows: int) -> None:
    draw = np.random.default_rng(0)
    files = [folder / f"{row}.jpg" for row in range(rows)]
    for file in files:
        coarse = draw.integers(0, 256, (75, 100, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((800, 600)).save(file, quality=90)

    def decode_with_pillow() -> None:
        for file in files:
            with Image.open(file) as image:
                np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))

    theirs = timed(decode_with_pillow)
    began = time.perf_counter()
    column = Column("image", files)
    ours = timed(lambda: open_column(column, Pixels(224, 3), "pictures", folder / "cache", PLENTY))
    rate = f"{rows / (time.perf_counter() - began):,.0f} a second"
    report(f"{rows:,} JPEGs decoded, {rate}", ours, "Pillow at full resolution", theirs)


if __name__ == "__main__":
    sys.exit(main())
