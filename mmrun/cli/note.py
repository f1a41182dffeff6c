"""mmrun note: read or write the note of a run."""

import argparse

from mmrun.cli.arguments import add_run
from mmrun.cli.table import inform, print_text
from mmrun.results.index import resolve

HELP = "Write a note about a run, which `mmrun ls`, `show` and `report` print; without a text, print it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="replaces the note; an empty text '' removes it")


def run(args: argparse.Namespace) -> int:
    """Write the note, or print it."""
    folder = resolve(args.run)
    if not args.text:
        print_text(folder.read_note(folder.read_config()) or "")
        return 0
    note = " ".join(args.text).strip()
    folder.write_note(note or None)
    inform(f"{folder.path}: {'the note is written' if note else 'the note is removed'}")
    return 0
