"""mmrun pack: a finished run as one file."""

import argparse
from pathlib import Path

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.cli.table import inform
from mmrun.results.formatting import format_size, pluralize
from mmrun.results.index import resolve

HELP = "Write a finished run into one zip file to hand over: all that predict, show and compare need, without the data."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the archive (default: NAME.zip)")
    parser.add_argument(
        "--all", action="store_true", help="with the checkpoints of every stage, for verify and eval --all"
    )


def run(args: argparse.Namespace) -> int:
    """Write the archive, and print its name."""
    folder = resolve(args.run)

    from mmrun.deploy.pack import pack

    output = Path(f"{folder.name}.zip") if args.output is None else args.output
    contents = pack(folder, output, args.all)
    echo(output)
    inform(f"{pluralize(len(contents['files']), 'file')}, {format_size(output.stat().st_size)}")
    return 0
