"""`mmrun predict`: what a finished run says of new rows."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any, TextIO

HELP = "Predict the rows of a file that has the columns of the one a run was trained on; targets are not needed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, or the beginning of its name or hash")
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV, JSON Lines or Parquet file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--root", type=Path, help="folder that file names start from (default: the file's own)")
    parser.add_argument("--format", choices=["csv", "json"], default="csv", help="json: one object a line")


def run(args: argparse.Namespace) -> int:
    """Predict, and write one line a row."""
    from mmrun.results.index import resolve

    folder = resolve(args.run)

    from mmrun.cli.terminal import Terminal
    from mmrun.evaluation.predict import predict
    from mmrun.results.files import write_atomically
    from mmrun.run.pipeline import reopen

    predicted = predict(reopen(folder, Terminal(live=False)), args.file, args.root)
    for modality in predicted.absent:
        print(f"note: {args.file} has no {modality}: predicted without it", file=sys.stderr)
    write = _write_json if args.format == "json" else _write_csv
    if args.output is None:
        write(predicted.columns, sys.stdout)
        return 0

    def fill(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            write(predicted.columns, stream)

    write_atomically(args.output, fill)
    print(args.output)
    return 0


def _write_csv(columns: dict[str, list[Any]], stream: TextIO) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))


def _write_json(columns: dict[str, list[Any]], stream: TextIO) -> None:
    for row in zip(*columns.values(), strict=True):
        stream.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
