"""Lets `dataset=PATH` stand for `dataset=manifest dataset.path=PATH`."""

import os
import re
from collections.abc import Collection, Sequence

from mmrun.errors import ConfigError
from mmrun.quoting import split_values

LIKE_PATH = re.compile(r"[^$]*[/\\~][^$]*|\.{1,2}|[^$]*\.[A-Za-z][A-Za-z0-9]{0,7}")  # what no choice is called


def read_dataset_paths(overrides: Sequence[str], choices: Collection[str], is_sweep: bool = False) -> list[str]:
    """Rewrite `dataset=PATH`; the name of a choice wins over a file of the same name.

    Args:
        overrides: as typed.
        choices: the names of data sets.
        is_sweep: whether commas separate the values of several runs.

    Returns:
        The overrides, with `dataset=manifest` and `dataset.path=PATH` in place of a path.

    Raises:
        ConfigError: names and paths are mixed, the path is given twice, or a value is neither.
    """
    rewritten = []
    for override in overrides:
        key, equals, value = override.partition("=")
        paths = _list_paths(value, choices, is_sweep) if key == "dataset" and equals else []
        rewritten += ["dataset=manifest", f"dataset.path={value}"] if paths else [override]
        if paths and any(other.startswith("dataset.path=") for other in overrides):
            raise ConfigError(f"dataset={value}: is a path, and dataset.path is set as well; leave one of the two out")
    return rewritten


def format_override(path: str) -> str:
    """Return the override that trains on a path.

    Args:
        path: of a file or folder, as typed.
    """
    return f"dataset={path if LIKE_PATH.fullmatch(path) else f'./{path}'}"


def describe_dataset_choice(name: str | None, outputs: str) -> list[str]:
    """Return a line if a file or folder is called as the data set that was chosen.

    Args:
        name: of the choice.
        outputs: the folder of the run folders, which may be called so.
    """
    if name is None or not os.path.exists(name) or os.path.normpath(outputs).split(os.sep)[0] == name:
        return []
    return [f"dataset={name} is mmrun's data set of this name; dataset=./{name} reads the file or folder here"]


def _list_paths(value: str, choices: Collection[str], is_sweep: bool) -> list[str]:
    """Return the paths in a value; none if it holds names of choices, or what only Hydra understands."""
    items = split_values(value) if is_sweep else [value]
    names = [item.strip().strip("'\"") for item in items]
    paths = [name for name in names if name not in choices and _is_path(name)]
    others = [name for name in names if name not in paths]
    if paths and others:
        raise ConfigError(f"dataset={value}: '{others[0]}' is a name, '{paths[0]}' a path; sweep over one of the two")
    return paths


def _is_path(name: str) -> bool:
    return bool(LIKE_PATH.fullmatch(name)) or os.path.exists(name)
