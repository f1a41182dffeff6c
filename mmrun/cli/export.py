"""mmrun export: a finished run as a model for other software."""

import argparse
import math
from pathlib import Path

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.cli.table import format_size, inform, pluralize, print_note
from mmrun.errors import ConfigError

HELP = (
    "Write the model of a finished run as ONNX or torch.export, with its preprocessing and a script that predicts "
    "without mmrun, and compare it with the run at once."
)
DEFAULT_TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    add_run(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="a new folder (default: NAME-FORMAT)")
    parser.add_argument("--format", choices=["onnx", "torch", "litert"], default="onnx", help="default: onnx")
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="compare on the rows of this file (default: the test rows; without the data, rows of noise)",
    )
    parser.add_argument(
        "--tolerance",
        type=_parse_tolerance,
        default=DEFAULT_TOLERANCE,
        metavar="X",
        help=f"refuse a model whose outputs differ by more from those of the run (default: {DEFAULT_TOLERANCE:g})",
    )


def _parse_tolerance(text: str) -> float:
    number = float(text)  # argparse reports a ValueError
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return number


def run(args: argparse.Namespace) -> int:
    """Export, compare, and print the folder.

    Returns:
        The exit code, 0.
    """
    if args.format == "litert":
        raise ConfigError("--format litert: not built yet; use --format onnx, which converters to LiteRT read")

    from mmrun.results.index import resolve

    folder = resolve(args.run)

    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.export import check_libraries, export
    from mmrun.deploy.predictor import open_predictor

    check_libraries(args.format)
    output = Path(f"{folder.name}-{args.format}") if args.output is None else args.output
    predictor = open_predictor(folder, Terminal(live=False), on_cpu=True)
    exported = export(predictor, output, args.format, args.rows, args.tolerance)
    echo(output)
    for note in exported.notes:
        print_note(note)
    agreement = exported.agreement
    inform(f"{exported.model.name}: {format_size(exported.model.stat().st_size)}")
    labels = f", {agreement.num_equal} of {agreement.num_labels} labels equal" if agreement.num_labels else ""
    rows = f"{pluralize(exported.num_rows, 'row')} ({exported.checked.source})"
    inform(
        f"compared with the run on {rows}, in batches, one by one and without each modality: largest difference "
        f"{agreement.difference:.1e}{labels}"
    )
    return 0
