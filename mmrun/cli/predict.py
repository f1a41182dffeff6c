"""mmrun predict: predictions of a finished run for new rows."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run, check_folder
from mmrun.cli.output import echo
from mmrun.cli.rows_file import open_rows_file
from mmrun.cli.table import inform, print_note
from mmrun.results.index import resolve

if TYPE_CHECKING:
    from mmrun.deploy.outputs import Writer
    from mmrun.deploy.predictor import Predictor
    from mmrun.deploy.rows import Rows

HELP = "Predict the rows of a file that has the columns of the training data; neither targets nor that data are needed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV, JSON Lines or Parquet file, or - for stdin")
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

    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.outputs import choose_format
    from mmrun.deploy.predictor import open_predictor
    from mmrun.deploy.rows import read_rows

    output_format = choose_format(args.output, args.format)
    if args.output is not None:
        check_folder(args.output)
    predictor = open_predictor(folder, Terminal(live=False))
    with open_rows_file(args.file, args.root) as (file, root):
        file_rows = read_rows(predictor, file, root, args.on_error)
        for modality in file_rows.missing_modalities:
            print_note(f"{file_rows.sheet.name} has no {modality}: predicted without it")
        for note in file_rows.notes:
            print_note(note)
        skipped = _write(predictor, file_rows.rows, args, output_format)
    for line in [*file_rows.skipped, *skipped]:
        inform(f"skipped {line}")
    return 0


def _write(predictor: "Predictor", rows: "Rows", args: argparse.Namespace, output_format: str) -> list[str]:
    """Write the predictions as they come; return "place: reason" of each row that could not be decoded."""
    from mmrun.cli.progress_bar import track
    from mmrun.deploy.outputs import CsvWriter, JsonWriter, ParquetWriter, build_columns
    from mmrun.results.files import write_atomically

    skipped: list[str] = []

    def write_all(writer: "Writer") -> None:
        for block in track(predictor.predict(rows, args.on_error), len(rows.ids), lambda block: block.num_read):
            skipped.extend(block.bad)
            writer.write(build_columns(predictor.tasks, rows.ids, block, args.embeddings))
        writer.close()
        if isinstance(writer, CsvWriter) and writer.num_escaped:
            print_note(
                f"cells that a spreadsheet would run as formulas begin with an apostrophe now: {writer.num_escaped} "
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
    return skipped
