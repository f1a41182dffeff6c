"""The file and the overrides of `dataset` that the verbs of `mmrun data` share."""

import argparse
from collections.abc import Sequence
from typing import Any

from mmrun.errors import ConfigError


def add_file(parser: argparse.ArgumentParser) -> None:
    """Declare FILE and the overrides of `dataset`. Flags may stand between overrides."""
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    parser.add_argument("file", metavar="FILE", help="a table, a folder or an archive: whatever dataset=PATH reads")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],  # without it, argparse calls it required
        metavar="OVERRIDE",
        help="of `dataset`: target=diagnosis group=patient columns.image=photo",
    )


def compose_node(file: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the node of dataset=manifest with the user's overrides.

    Args:
        file: as typed.
        overrides: with or without "dataset.".

    Raises:
        ConfigError: an override is not of the form KEY=VALUE, or names no key.
    """
    from mmrun.compose import load_option
    from mmrun.quoting import quote_values

    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"'{override}' is not of the form KEY=VALUE; write for example target=diagnosis")
    words = quote_values([f"dataset.{override.removeprefix('dataset.')}" for override in overrides])
    return {**load_option("dataset", "manifest", [f"++{word}" for word in words]), "path": file}


def find_override(overrides: Sequence[str], key: str) -> str | None:
    """Return the value of an override, None where it is not among them.

    Args:
        overrides: with or without "dataset.".
        key: of `dataset`.
    """
    for override in reversed(overrides):
        name, _, value = override.removeprefix("dataset.").partition("=")
        if name == key:
            return value
    return None
