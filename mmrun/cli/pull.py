"""mmrun pull: a run from a hub."""

import argparse
from pathlib import Path

from mmrun.cli.output import echo, shows_progress
from mmrun.cli.table import inform
from mmrun.results.index import OUTPUTS

HELP = (
    "Download a run that mmrun push uploaded, and check every file of it. It may come from someone else: nothing in it "
    "is run or unpickled."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "address", metavar="hf://USER/NAME[@REVISION]", help="the repository; a branch, a tag or a commit of it"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        default=OUTPUTS / "pulled",
        help="where the run's folder is made (default: outputs/pulled)",
    )


def run(args: argparse.Namespace) -> int:
    """Download, and print the run's folder."""
    from mmrun.deploy.share import parse_address, pull

    folder, commit = pull(parse_address(args.address), args.output, shows_progress())
    echo(folder.path)
    inform(f"commit {commit[:12]}")
    return 0
