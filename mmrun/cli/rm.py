"""mmrun rm: remove runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmrun.cli.arguments import RUN_HELP
from mmrun.cli.output import echo
from mmrun.cli.table import inform, print_table
from mmrun.errors import ConfigError, MmrunError
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import remove_run
from mmrun.results.formatting import format_size, pluralize
from mmrun.results.index import determine_status, resolve
from mmrun.results.table import Table

HELP = "Remove runs with all their files. What they share with other runs, in the cache, stays."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help=RUN_HELP)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """List the runs, ask, and remove them.

    Raises:
        ConfigError: a folder is no run, a run is being trained, or there is nobody to ask.
    """
    runs = {folder.path.resolve(): folder for folder in map(resolve, args.runs)}
    statuses = [_check(folder) for folder in runs.values()]
    if not args.yes and not sys.stdin.isatty():
        raise ConfigError("rm: asks before it removes, but there is no terminal; add --yes")
    total = _list_runs(list(runs.values()), statuses)
    if not args.yes and not _confirm(f"remove {pluralize(len(runs), 'run')}, {total}? [y/N] "):
        inform("nothing is removed")
        return 0
    for folder in runs.values():
        remove_run(folder)
        inform(f"removed {folder.path}")
    return 0


def _check(folder: RunFolder) -> str:
    """Return the status of a run that may be removed.

    Any folder with a config.yaml can be named, so its content decides whether it is a run.
    """
    try:
        status: str = determine_status(folder)["status"]
    except MmrunError:
        status = "damaged"
    if not _is_run(folder):
        raise ConfigError(
            f"{folder.path}: neither its config.yaml nor its status.json is that of a run; remove it by hand"
        )
    if folder.path.is_symlink():
        raise ConfigError(f"{folder.path}: is a link; name the run itself, {folder.path.resolve()}")
    if status == "running":
        raise ConfigError(f"{folder.path}: is being trained; stop it first")
    return status


def _is_run(folder: RunFolder) -> bool:
    """Return whether config.yaml or status.json has the layout that mmrun writes."""
    for read in (folder.read_config, folder.status.read):
        try:
            read()
        except MmrunError:
            continue
        return True
    return False


def _list_runs(runs: Sequence[RunFolder], statuses: Sequence[str]) -> str:
    """Print the runs with their sizes; return the sum."""
    sizes = [_measure(folder.path) for folder in runs]
    rows = []
    for folder, status, size in zip(runs, statuses, sizes, strict=True):
        rows.append([str(folder.path), status, format_size(size)])
    print_table(Table("", ["run", "status", "size"], rows, 2))
    return format_size(sum(sizes))


def _measure(folder: Path) -> int:
    """Return the bytes of the files below a folder; what links lead to does not count."""
    size = 0
    for parent, _, files in os.walk(folder):
        size += sum(os.lstat(os.path.join(parent, file)).st_size for file in files)
    return size


def _confirm(question: str) -> bool:
    echo(question, end="")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
