"""mmrun explain: why a finished run predicts what it does, row by row."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run, check_folder, parse_number
from mmrun.cli.output import echo
from mmrun.cli.rows_file import open_rows_file
from mmrun.cli.table import inform, print_note
from mmrun.errors import ConfigError
from mmrun.results.formatting import format_number
from mmrun.results.index import resolve
from mmrun.values import Range

if TYPE_CHECKING:
    import numpy as np

    from mmrun.deploy.explain.explainer import Explainer
    from mmrun.deploy.explain.file import FileExplanation
    from mmrun.results.folder import RunFolder

HELP = (
    "Explain the predictions for the rows of a file: what each modality contributes (exact Shapley values), and which "
    "pixels, words, sounds, columns and steps matter. With targets, the most confident errors come first."
)
DEFAULT_ROWS, MAX_ROWS = 50, 1000
SUFFIXES = {".html": "html", ".htm": "html", ".json": "json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a CSV, JSON Lines or Parquet file, - for stdin; targets are optional",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default: explained.html; json: stdout)"
    )
    parser.add_argument(
        "--format", choices=["html", "json"], help="json: all numbers (default: that of the output's suffix, else html)"
    )
    parser.add_argument(
        "--rows",
        type=parse_number(int, Range(at_least=1, at_most=MAX_ROWS)),
        default=DEFAULT_ROWS,
        metavar="N",
        help=f"rows that are explained one by one, at most {MAX_ROWS:,} (default: {DEFAULT_ROWS})",
    )
    parser.add_argument(
        "--target",
        metavar="NAME[=OUTPUT]",
        help="the target to explain, and a class, label or number of it (default: the first, and the predicted class)",
    )
    parser.add_argument(
        "--method",
        choices=["integrated_gradients", "occlusion"],
        default="integrated_gradients",
        help="of the heat inside a modality (default: integrated_gradients; occlusion where no gradient passes)",
    )
    parser.add_argument(
        "--image-baseline",
        choices=["mean", "black", "blurred"],
        default="mean",
        help="what pixels are compared with: the mean colour of the picture, black, or a blurred picture (default: "
        "mean, as black hides the effect of dark parts)",
    )
    parser.add_argument("--root", type=Path, help="folder that file names are relative to (default: that of FILE)")
    parser.add_argument(
        "--on-error", choices=["raise", "skip"], default="raise", help="skip: leave bad rows out, and list them"
    )


def run(args: argparse.Namespace) -> int:
    """Explain, and write the page or the numbers."""
    folder = resolve(args.run)
    output_format, output = _choose_output(args.output, args.format)

    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.explain.explainer import Explainer
    from mmrun.deploy.explain.file import explain_rows
    from mmrun.deploy.explain.target import parse_target
    from mmrun.deploy.predictor import open_predictor
    from mmrun.deploy.rows import read_rows

    predictor = open_predictor(folder, Terminal(live=False))
    target = parse_target(predictor.tasks, args.target)
    explainer = Explainer(predictor, target, args.method, args.image_baseline)
    with open_rows_file(args.file, args.root) as (file, root):
        new_rows = read_rows(predictor, file, root, args.on_error)
        explanation = explain_rows(explainer, new_rows, str(args.file), args.rows, args.on_error, _track_blocks)
        _write(explanation, explainer, output_format, output)
    _print_summary(explanation, explainer)
    return 0


def explain_to_page(run_folder: "RunFolder", file: Path, page: Path) -> None:
    """Write the page that the command without further options writes.

    Args:
        run_folder: of the run.
        file: with the rows.
        page: to be written.
    """
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(["-o", str(page), "--", str(run_folder.path), str(file)]))


def _choose_output(path: Path | None, name: str | None) -> tuple[str, Path | None]:
    """Return the format, and the file to write; None: stdout."""
    if path is None:
        return ("json", None) if name == "json" else ("html", Path("explained.html"))
    suffix_format = SUFFIXES.get(path.suffix.lower())
    if name is None and suffix_format is None:
        raise ConfigError(f"-o {path}: end the name in {', '.join(SUFFIXES)}, or add --format html|json")
    check_folder(path)
    return name or suffix_format or "html", path


def _track_blocks(blocks: "Iterable[np.ndarray]", num_rows: int) -> "Iterable[np.ndarray]":
    from mmrun.cli.progress_bar import track

    return track(blocks, num_rows, len)


def _write(explanation: "FileExplanation", explainer: "Explainer", output_format: str, output: Path | None) -> None:
    from mmrun.cli.progress_bar import track
    from mmrun.deploy.explain.document import write_json
    from mmrun.deploy.explain.page import render_page
    from mmrun.results.files import write_atomically

    explanation.rows = track(explanation.rows, explanation.num_explained, lambda _: 1, "rows explained")
    if output is None:
        write_json(explanation, sys.stdout)
        return

    def write_file(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            if output_format == "json":
                write_json(explanation, stream)
            else:
                stream.write(render_page(explanation, explainer))

    write_atomically(output, write_file)
    echo(output)


def _print_summary(explanation: "FileExplanation", explainer: "Explainer") -> None:
    for note in explanation.notes:
        print_note(note)
    for line in explanation.skipped:
        inform(f"skipped {line}")
    others = [name for name in explainer.predictor.tasks if name != explanation.target]
    if others and not explainer.target.is_named:
        print_note(f"explained '{explanation.target}'; --target {others[0]} explains another target")
    means = ", ".join(f"{name} {format_number(value)}" for name, value in explanation.mean_contributions.items())
    inform(f"mean absolute contribution to {explanation.target}: {means}")
    inform(f"{explanation.num_explained} of {explanation.num_rows} rows explained one by one: {explanation.order}")
