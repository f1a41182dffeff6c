"""All plots of one finished run."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mmrun.errors import ConfigError, DataError
from mmrun.results.classification import has_classes, match_outputs
from mmrun.results.folder import RunFolder
from mmrun.results.index import determine_status, find_primary_metric
from mmrun.results.predictions import (
    StoredPredictions,
    check_predictions,
    list_tasks,
    parse_primary_head,
    read_predictions,
)
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.run_plots.classes import ClassPredictions, plot_classes
from mmrun.results.run_plots.drawn import Drawn
from mmrun.results.run_plots.learning import plot_learning
from mmrun.results.run_plots.regression import plot_regression
from mmrun.results.schema import MetricValues, RunMetrics
from mmrun.results.table import Table

MAX_PLOTS = 100  # of a run


def plot_run(folder: RunFolder, only_split: str | None = None) -> Drawn:
    """Plot the learning curves of a run, and what its primary head predicted for each split and task.

    Args:
        folder: of the run.
        only_split: whose predictions are plotted; None: those of all.

    Returns:
        The plots, with split and task in their names; notes say what is left out.

    Raises:
        ConfigError: the run is not finished.
        DataError: nothing can be plotted: there are neither predictions nor learning curves.
    """
    if not folder.finished:
        status = determine_status(folder)["status"]
        raise ConfigError(f"{folder.name}: the run is {status}; only finished runs have plots")
    metrics = folder.read_metrics()
    plots, notes = _plot_predictions(folder, metrics, only_split)
    learning = plot_learning(folder, find_primary_metric(metrics)[0])
    plots = [*plots, *(replace(plot, name=f"learning-{plot.name}") for plot in learning)]
    if not plots and not notes:
        raise DataError(f"{folder.name}: nothing to plot: neither predictions nor learning curves are stored")
    if len(plots) > MAX_PLOTS:
        notes.append(f"the first {MAX_PLOTS} of {len(plots):,} plots are drawn")
    return Drawn(plots[:MAX_PLOTS], notes)


def build_run_section(folder: RunFolder, split: str, explanation: Path | None = None) -> Section:
    """Build the section of a report on one run.

    Args:
        folder: of the run.
        split: whose predictions are plotted.
        explanation: page of `mmrun explain` that the section links to.

    Raises:
        ConfigError: as `plot_run`; likewise DataError.
    """
    plots, notes = plot_run(folder, split)
    tables = []
    if explanation is not None:
        shows = "contributions of the modalities, and which parts of each matter, row by row"
        tables.append(Table("", ["explanation", "shows"], [[explanation.name, shows]], 2, files=[explanation]))
    text = " ".join(f"{note}." for note in notes)
    return Section(f"Run {folder.path.parent.name}/{folder.name}", text, tables, plots)


def _plot_predictions(folder: RunFolder, metrics: RunMetrics, only_split: str | None) -> Drawn:
    """Plot what was predicted for each split and task."""
    check_predictions(folder, metrics)
    plots, notes = list[Plot](), list[str]()
    for split, per_task in metrics["per_class"].items():
        if only_split not in (None, split):
            continue
        for task in list_tasks(folder, split):
            per_class = per_task[task]
            predictions = read_predictions(folder, split, task, parse_primary_head(metrics))
            task_plots, task_notes = _plot_task(f"{task} ({split})", per_class, predictions)
            plots += [replace(plot, name=f"{split}-{task}-{plot.name}") for plot in task_plots]
            notes += task_notes
    return Drawn(plots, notes)


def _plot_task(title: str, per_class: dict[str, MetricValues], predictions: StoredPredictions) -> Drawn:
    """Plot a task by its type: a regression, labels or classes."""
    _, scores, target = predictions
    if not match_outputs(per_class, scores, target):
        return Drawn([], [f"{title}: no plots, the predictions are not those of classes, labels or numbers"])
    if not has_classes(per_class):
        return plot_regression(title, per_class, scores, target.reshape(scores.shape).astype(np.float64))
    select = ClassPredictions.of_classes if target.ndim == 1 else ClassPredictions.of_labels
    return plot_classes(title, select(list(per_class), scores, target))
