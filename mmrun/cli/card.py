"""mmrun card: the model card of a run."""

import argparse
from pathlib import Path

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.cli.table import inform
from mmrun.results.index import resolve

HELP = (
    "Write the model card of a finished run: what it is, its data, cost and metrics with intervals, its limits, and "
    "what nobody tested. `mmrun push` sends it along."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    add_card(parser)


def add_card(parser: argparse.ArgumentParser) -> None:
    """Declare what a card says besides what the run folder holds."""
    parser.add_argument("--license", metavar="ID", help="of the model, as the hub names it: mit, apache-2.0 ...")
    parser.add_argument(
        "--evidence",
        type=Path,
        nargs="+",
        metavar="OUTPUTS",
        default=[],
        help="folders with the runs that it was compared with: the card says what they show, as `mmrun report` does",
    )


def run(args: argparse.Namespace) -> int:
    """Write the card."""
    folder = resolve(args.run)

    from mmrun.deploy.card import read_source, write_card
    from mmrun.results.files import write_atomically

    text = write_card(read_source(folder, args.license, args.evidence))
    if args.output is None:
        echo(text, end="")
        return 0
    write_atomically(args.output, lambda path: path.write_text(text, encoding="utf-8"))
    inform(f"wrote {args.output}")
    return 0
