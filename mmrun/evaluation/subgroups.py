"""Which rows a model serves worst: figures by the values of any column of the user's file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.compose import nearest
from mmrun.data.table_file import SUFFIXES, read_sheet
from mmrun.errors import ConfigError
from mmrun.types import Task

MANIFEST = "mmrun.data.sources.manifest.manifest"  # the one source that is a file
MOST_GROUPS = 100


def column(dataset: Mapping[str, Any], name: str) -> dict[str, str]:
    """Read a column of the file that a data set was opened from, by the id of each row; "" where a cell is empty."""
    if dataset["_target_"] != MANIFEST:
        raise ConfigError(f"--group {name}: this data set has no file with columns; only one made of a manifest has")
    sheet = read_sheet(_file(Path(dataset["path"]).expanduser()))
    if name not in sheet.columns:
        known = ", ".join(sheet.columns)
        raise ConfigError(
            f"--group {name}: {sheet.name} has no such column{nearest(name, sheet.columns)} (it has {known})"
        )
    own = dataset["id"]
    ids = sheet.columns[own] if own in sheet.columns else sheet.locate_rows()
    return {str(id): "" if cell is None else str(cell) for id, cell in zip(ids, sheet.columns[name], strict=True)}


def by_group(task: Task, scores: np.ndarray, target: np.ndarray, groups: Sequence[str], name: str) -> dict[str, Any]:
    """Return the figures of each group's rows, the largest group first, and the group with the worst primary metric."""
    values, number, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    if len(values) > MOST_GROUPS:
        raise ConfigError(
            f"--group {name}: has {len(values)} values in this split; a column of at most {MOST_GROUPS} makes groups"
        )
    found = {}
    for group in np.argsort(-counts, kind="stable"):
        rows = number == group
        found[str(values[group])] = {"rows": int(counts[group]), **task.metrics(scores[rows], target[rows])}
    known = {group: figures[task.primary_metric] for group, figures in found.items() if task.primary_metric in figures}
    worst = min(known, key=lambda group: known[group]) if known else None
    return {"column": name, "primary_metric": task.primary_metric, "groups": found, "worst": worst}


def _file(path: Path) -> Path:
    """Return the file, or the manifest in the folder."""
    if not path.is_dir():
        return path
    return next(file for suffix in SUFFIXES if (file := path / f"manifest{suffix}").is_file())
