"""Arguments that several verbs share."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mmrun.errors import ConfigError
from mmrun.values import PLAIN, Range

Number = TypeVar("Number", int, float)

RUN_HELP = "a run folder, or the beginning of the name or hash of a run below outputs"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare RUN, which `mmrun.results.index` resolves."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides of a run and --config-dir. Flags may stand between overrides."""
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, as in the examples of `mmrun train -h`"
    )
    parser.add_argument(
        "--config-dir", action="append", default=[], metavar="DIR", help="search this folder for YAML files first"
    )


def add_folders(parser: argparse.ArgumentParser, default: Path) -> None:
    """Declare the folders that are searched for runs.

    Args:
        parser: of a verb.
        default: the folder searched if none is given.
    """
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[default], help=f"folders to search for runs (default: {default})"
    )


def add_table_format(parser: argparse._ActionsContainer) -> None:
    """Declare --format for verbs that print an `Answer`."""
    parser.add_argument(
        "--format",
        choices=["table", "json", "csv", "md"],
        default="table",
        help="default: table; json has everything, csv raw values",
    )


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare --where, which `mmrun.results.selection.filter_runs` reads."""
    parser.add_argument(
        "--where",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="only runs with these values; KEY=A,B accepts either",
    )


def parse_number(kind: type[Number], bounds: Range) -> Callable[[str], Number]:
    """Return a function that reads a number, for the `type` of an argument.

    Args:
        kind: int or float.
        bounds: between which the number must lie; it must be finite anyway.
    """

    def parse(text: str) -> Number:
        try:
            number = kind(text)
            fits = math.isfinite(number) and bounds.contains(number)
        except (ValueError, OverflowError):
            fits = False
        if not fits:
            raise argparse.ArgumentTypeError(f"{text} is not {PLAIN[kind]} {bounds}")
        return number

    return parse


def check_folder(output: Path) -> None:
    """Raise a ConfigError if the folder of the file that -o names does not exist."""
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.parent}")


def format_flag(name: str) -> str:
    """Return the flag of an argument: --max-drop for max_drop."""
    return f"--{name.replace('_', '-')}"


def split_keys(text: str) -> tuple[str, ...]:
    """Split a list of config keys.

    Args:
        text: KEY[,KEY]. `encoder/image` is another spelling of `encoder.image`.

    Returns:
        Dotted keys.
    """
    return tuple(text.replace("/", ".").split(","))
