"""mmrun predict: predictions of a finished run for new rows."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.cli.table import print_note
from mmrun.results.csv import escape_formula, write_csv

HELP = "Predict the rows of a file that has the columns of the training data; targets are not needed."

Columns = Mapping[str, Sequence[object]]  # by name, one value per row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    add_run(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV, JSON Lines or Parquet file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--root", type=Path, help="folder that file names are relative to (default: that of FILE)")
    parser.add_argument("--format", choices=["csv", "json"], default="csv", help="json: one object per line")


def run(args: argparse.Namespace) -> int:
    """Predict, and write one line per row.

    Returns:
        The exit code, 0.
    """
    from mmrun.results.index import resolve

    folder = resolve(args.run)

    from mmrun.cli.terminal import Terminal
    from mmrun.evaluation.predict import predict
    from mmrun.results.files import write_atomically
    from mmrun.run.pipeline import reopen

    predictions = predict(reopen(folder, Terminal(live=False)), args.file, args.root)
    for modality in predictions.missing_modalities:
        print_note(f"{args.file} has no {modality}: predicted without it")
    num_escaped = _count_formulas(predictions.columns) if args.format == "csv" else 0
    if num_escaped:
        print_note(
            f"{num_escaped} cells would be formulas in a spreadsheet; they begin with an apostrophe now "
            "(--format json keeps them)"
        )
    for note in predictions.notes:
        print_note(note)
    write = _write_json if args.format == "json" else _write_csv
    if args.output is None:
        write(predictions.columns, sys.stdout)
        return 0

    def write_file(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            write(predictions.columns, stream)

    write_atomically(args.output, write_file)
    echo(args.output)
    return 0


def _count_formulas(columns: Columns) -> int:
    """Return the number of cells that `write_csv` changes."""
    return sum(escape_formula(cell) != cell for cells in columns.values() for cell in cells)


def _write_csv(columns: Columns, stream: TextIO) -> None:
    stream.write(write_csv(columns, zip(*columns.values(), strict=True)))


def _write_json(columns: Columns, stream: TextIO) -> None:
    for row in zip(*columns.values(), strict=True):
        stream.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
