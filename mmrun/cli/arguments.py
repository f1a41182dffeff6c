"""Arguments that several verbs share."""

import argparse
from pathlib import Path

RUN_HELP = "a run folder, or the beginning of the name or hash of a run below outputs"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare RUN, which `mmrun.results.index` resolves.

    Args:
        parser: of a verb.
    """
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Declare the overrides of a run and --config-dir. Flags may stand between overrides.

    Args:
        parser: of a verb.
    """
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
    """Declare --format for verbs that print an `Answer`.

    Args:
        parser: of a verb.
    """
    parser.add_argument(
        "--format",
        choices=["table", "json", "csv", "md"],
        default="table",
        help="default: table; json has everything, csv raw values",
    )


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare --where, which `mmrun.results.selection.filter_runs` reads.

    Args:
        parser: of a verb.
    """
    parser.add_argument(
        "--where",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="only runs with these values; KEY=A,B accepts either",
    )


def split_keys(text: str) -> tuple[str, ...]:
    """Split a list of config keys.

    Args:
        text: KEY[,KEY]. `encoder/image` is another spelling of `encoder.image`.

    Returns:
        Dotted keys.
    """
    return tuple(text.replace("/", ".").split(","))
