"""mmrun unpack: the run in a file that `mmrun pack` wrote."""

import argparse
from pathlib import Path

from mmrun.cli.output import echo
from mmrun.results.index import OUTPUTS

HELP = "Unpack a run that mmrun pack wrote, and check every file of it. The file may come from someone else."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a zip file that mmrun pack wrote")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        default=OUTPUTS / "unpacked",
        help="where the run's folder is made (default: outputs/unpacked)",
    )


def run(args: argparse.Namespace) -> int:
    """Unpack, and print the run's folder."""
    from mmrun.deploy.pack import unpack

    echo(unpack(args.file, args.output).path)
    return 0
