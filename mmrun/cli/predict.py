"""mmrun predict: predictions of a finished run for new rows."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.cli.table import inform, print_note
from mmrun.results.index import resolve

if TYPE_CHECKING:
    from mmrun.deploy.outputs import Writer

HELP = "Predict the rows of a file that has the columns of the training data; neither targets nor that data are needed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV, JSON Lines or Parquet file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--root", type=Path, help="folder that file names are relative to (default: that of FILE)")
    parser.add_argument(
        "--format",
        choices=["csv", "json", "parquet"],
        help="json: one object per line (default: that of the output's suffix; csv on stdout)",
    )
    parser.add_argument("--embeddings", action="store_true", help="add the fused vector of each row")
    parser.add_argument(
        "--on-error", choices=["raise", "skip"], default="raise", help="skip: leave bad rows out, and list them"
    )


def run(args: argparse.Namespace) -> int:
    """Predict, and write one line per row."""
    folder = resolve(args.run)

    from mmrun.cli.progress_bar import track
    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.outputs import CsvWriter, JsonWriter, ParquetWriter, build_columns, choose_format
    from mmrun.deploy.predictor import open_predictor
    from mmrun.deploy.rows import read_rows
    from mmrun.results.files import write_atomically

    output_format = choose_format(args.output, args.format)
    predictor = open_predictor(folder, Terminal(live=False))
    file_rows = read_rows(predictor, args.file, args.root, args.on_error)
    for modality in file_rows.missing_modalities:
        print_note(f"{args.file} has no {modality}: predicted without it")
    for note in file_rows.notes:
        print_note(note)
    rows = file_rows.rows
    skipped = list(file_rows.skipped)

    def write_all(writer: "Writer") -> None:
        for block in track(predictor.predict(rows, args.on_error), len(rows.ids), lambda block: block.num_read):
            skipped.extend(block.bad)
            writer.write(build_columns(predictor.tasks, rows.ids, block, args.embeddings))
        writer.close()
        if isinstance(writer, CsvWriter) and writer.num_escaped:
            print_note(
                f"{writer.num_escaped} cells would be formulas in a spreadsheet; they begin with an apostrophe now "
                "(--format json keeps them)"
            )

    def write_file(path: Path) -> None:
        if output_format == "parquet":
            write_all(ParquetWriter(path))
            return
        with path.open("w", encoding="utf-8", newline="") as stream:
            write_all(CsvWriter(stream) if output_format == "csv" else JsonWriter(stream))

    if args.output is None:
        write_all(CsvWriter(sys.stdout) if output_format == "csv" else JsonWriter(sys.stdout))
    else:
        write_atomically(args.output, write_file)
        echo(args.output)
    for line in skipped:
        inform(f"skipped {line}")
    return 0
