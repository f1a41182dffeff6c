"""mmrun push: a finished run on a hub."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import add_run
from mmrun.cli.card import add_card
from mmrun.cli.output import echo, shows_progress
from mmrun.cli.table import inform, print_table
from mmrun.errors import ConfigError
from mmrun.results.formatting import format_size, pluralize
from mmrun.results.index import resolve
from mmrun.results.table import Table

if TYPE_CHECKING:
    from mmrun.deploy.share_files import SharedRun

HELP = (
    "Upload a finished run to the hub of Hugging Face, in one commit: what predicting needs and a model card, without "
    "predictions, logs, notes, and paths of this machine. Only this verb uploads a run."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("address", metavar="hf://USER/NAME", help="the repository; made if there is none")
    parser.add_argument("--private", action="store_true", help="make a new repository private (default: public)")
    parser.add_argument("--revision", metavar="BRANCH", help="commit to this branch (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="of the commit (default: Push RUN)")
    parser.add_argument("--replace", action="store_true", help="replace another run that the repository holds")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be uploaded, with sizes")
    add_card(parser)


def run(args: argparse.Namespace) -> int:
    """List the files, upload them, and print the address of the repository.

    Raises:
        ConfigError: the address names a revision.
    """
    from mmrun.deploy.share import Address, parse_address

    address = parse_address(args.address)
    if address.revision is not None:
        raise ConfigError(f"{address}: name the branch with --revision {address.revision}")
    folder = resolve(args.run)

    from mmrun.deploy.card import read_source, write_card
    from mmrun.deploy.share import check_login, push
    from mmrun.deploy.share_files import collect_files

    if not args.dry_run:
        check_login(address)
    card = write_card(read_source(folder, args.license, args.evidence, str(address)))
    with tempfile.TemporaryDirectory(prefix="mmrun-") as scratch:
        shared = collect_files(folder, card, Path(scratch))
        _print_files(shared)
        if args.dry_run:
            inform("nothing is uploaded: --dry-run")
            return 0
        message = args.message or f"Push {folder.name}"
        branch = Address(address.repository, args.revision)
        commit = push(shared, branch, message, args.private, args.replace, shows_progress())
    echo(commit.url)
    inform(f"commit {commit.id[:12]}" if commit.is_new else f"nothing changed since commit {commit.id[:12]}")
    return 0


def _print_files(shared: "SharedRun") -> None:
    rows = [[name, format_size(file.stat().st_size)] for name, file in shared.files.items()]
    print_table(Table("", ["file", "size"], rows))
    inform(f"{pluralize(len(rows), 'file')}, {format_size(shared.size)}")
