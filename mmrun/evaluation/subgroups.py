"""Metrics of subgroups: the rows with each value of any column of the user's file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrun.data.folders.recognize import open_path
from mmrun.data.names import normalize_name
from mmrun.errors import ConfigError, nearest
from mmrun.results.evaluation_schema import SubgroupMetrics
from mmrun.types import Task

MANIFEST = "mmrun.data.sources.manifest.manifest"  # the only source that reads a file with columns
MAX_GROUPS = 100


def read_column(dataset: Mapping[str, Any], name: str, option: str = "--group") -> dict[str, str]:
    """Read a column of the file that a data set was read from.

    Args:
        dataset: its config.
        name: of the column.
        option: that names it, for errors.

    Returns:
        the cells by the id of their row; "" where a cell is empty.

    Raises:
        ConfigError: the data set was not read from a file, or the file has no such column.
    """
    if dataset["_target_"] != MANIFEST:
        raise ConfigError(f"{option} {name}: this data set has no columns to group by; only dataset=manifest has")
    sheet = open_path(dataset["path"], encoding=dataset.get("encoding")).sheet
    if name not in sheet.columns:
        raise ConfigError(
            f"{option} {name}: {sheet.name} has no such column{nearest(name, sheet.columns)} "
            f"(it has {', '.join(sheet.columns)})"
        )
    id_column = dataset["id"]
    ids = sheet.columns[id_column] if id_column in sheet.columns else sheet.locate_rows()
    values: dict[str, str] = {}
    for row_id, cell in zip(ids, sheet.columns[name], strict=True):
        values[str(row_id)] = "" if cell is None else normalize_name(cell)
    return values


def compute_subgroup_metrics(
    task: Task, scores: np.ndarray, target: np.ndarray, groups: Sequence[str], column: str
) -> SubgroupMetrics:
    """Compute the metrics of each subgroup, and find the one with the worst primary metric.

    Args:
        task: computes the metrics.
        scores: [N, C].
        target: [N] or [N, C].
        groups: value of the column in each of the N rows.
        column: its name.

    Returns:
        an entry of evaluation.json, the largest subgroup first.

    Raises:
        ConfigError: the column has more than MAX_GROUPS values.
    """
    values, group_numbers, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    if len(values) > MAX_GROUPS:
        raise ConfigError(
            f"--group {column}: has {len(values)} values in this split; choose a column with at most {MAX_GROUPS}"
        )
    by_group: dict[str, dict[str, float]] = {}
    primary: dict[str, float] = {}
    for number in np.argsort(-counts, kind="stable"):
        rows = group_numbers == number
        group, metrics = str(values[number]), task.metrics(scores[rows], target[rows])
        by_group[group] = {"rows": int(counts[number]), **metrics}
        if task.primary_metric in metrics:
            primary[group] = metrics[task.primary_metric]
    return {
        "column": column,
        "primary_metric": task.primary_metric,
        "groups": by_group,
        "worst": min(primary, key=lambda group: primary[group]) if primary else None,
    }
