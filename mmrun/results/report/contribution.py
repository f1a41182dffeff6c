"""The section on the contribution of each modality: alone, compared with all of them together, and missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results import statistics
from mmrun.results.compare import Question
from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.evaluations import OWN_CEILINGS, find_unevaluated, read_evaluation
from mmrun.results.formatting import format_interval, format_number, format_signed
from mmrun.results.report.charts import draw_bars, draw_heatmap
from mmrun.results.report.evaluation import Evaluations
from mmrun.results.report.groups import describe_groups, describe_means, format_group, merge_keys
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles
from mmrun.results.run_values import Group
from mmrun.results.schema import RunRecord
from mmrun.results.table import Table

TRAINED = "encoders trained alone"
PROBES = "probes of the run"
ABSENT = "the run, other modalities absent"


class UnimodalMetrics(NamedTuple):
    """A metric that each modality reaches alone, and the source of the values.

    Args:
        by_modality: the metric of each modality.
        source: TRAINED, PROBES or ABSENT.
    """

    by_modality: dict[str, float]
    source: str


class FusedAndUnimodal(NamedTuple):
    """A metric of one run with all modalities, and of each modality alone."""

    fused: float
    by_modality: dict[str, float]


class SubsetMeans(NamedTuple):
    """A metric for each subset of the modalities, averaged over runs.

    Args:
        subsets: names of the subsets.
        fills: the ways in which missing modalities are filled.
        means: [subsets, fills].
    """

    subsets: list[str]
    fills: list[str]
    means: np.ndarray


def build_section(
    groups: Mapping[Group, Sequence[RunRecord]],
    evaluations: Evaluations,
    metric: str,
    question: Question,
    styles: Styles,
) -> Section | None:
    """Build the section: what fusion adds to single modalities, Shapley values, and metrics with modalities missing.

    Single modalities need no `mmrun eval` where probes were trained on the same data.

    Args:
        groups: runs by group.
        evaluations: by group; groups without any are left out of the plots.
        metric: name of the metric, without its split.
        question: that the report answers.
        styles: of the groups.

    Returns:
        The section; None where nothing is known about single modalities, and nothing remains to be evaluated.
    """
    split = question.metric.partition("/")[0]
    lower_is_better = replace(question, metric=f"{split}/{metric}").lower_is_better
    synergy = _tabulate_synergy(groups, split, metric, lower_is_better)
    unevaluated = describe_unevaluated(list(chain.from_iterable(groups.values())), question)
    if not (synergy.rows or evaluations or unevaluated):
        return None
    plots = []
    if evaluations:
        plots.append(plot_shapley_values(_collect_shapley_values(evaluations, metric), metric, styles))
    for group, group_evaluations in evaluations.items():
        plots.append(plot_missing_modalities(group, average_subsets(group_evaluations, metric), metric))
    text = " ".join(filter(None, [unevaluated, _describe_complete_training(evaluations)]))
    return Section("Contribution of each modality", text, [synergy] if synergy.rows else [], plots)


def describe_unevaluated(runs: Iterable[RunRecord], question: Question) -> str:
    """Describe how to evaluate the runs that lack an evaluation with missing and noisy modalities.

    Args:
        runs: those without a fused head cannot be evaluated, and do not count.
        question: that the report answers; its metric names the split.

    Returns:
        One sentence; "" where all runs are evaluated.
    """
    fused = [run for run in runs if run["primary_head"] == "fused"]
    num_lacking = len(find_unevaluated(fused, question.metric.partition("/")[0]))
    if not num_lacking:
        return ""
    return (
        f"{num_lacking} of {len(fused)} runs were not evaluated with missing and noisy modalities; "
        "run the same command with --eval to evaluate them first."
    )


def _describe_complete_training(evaluations: Evaluations) -> str:
    """Warn of groups that never saw a missing modality in training."""
    names = []
    for group, group_evaluations in evaluations.items():
        if not all(evaluation["saw_missing"] for evaluation in group_evaluations):
            names.append(format_group(group))
    if not names:
        return ""
    return (
        f"No training row of {', '.join(names)} lacked a modality, so their results with missing modalities are "
        "extrapolations."
    )


# ----------------------------------------------------------------------------------------- one modality at a time


def _tabulate_synergy(
    groups: Mapping[Group, Sequence[RunRecord]], split: str, metric: str, lower_is_better: bool
) -> Table:
    """Tabulate what the fusion adds to the best modality alone, in one row for each group and source."""
    runs = list(chain.from_iterable(groups.values()))
    modalities = merge_keys(run["config"]["encoder"] for run in runs)
    rows = []
    for group, group_evaluations in groups.items():
        for source, pairs in _pair_fused_and_unimodal(group_evaluations, runs, split, metric).items():
            cells = _format_synergy(pairs, modalities, lower_is_better)
            rows.append([format_group(group), source, *cells])
    header = ["group", "unimodal source", "runs", "fused"]
    for modality in modalities:
        header.append(f"{modality} alone")
    gap = "the gap is the gain of the fusion over the best modality alone; ! not above 0"
    caption = f"{split}/{metric}, means over runs; {gap}"
    return Table(caption, [*header, "synergy gap", "95 % interval"], rows, 2)


def _pair_fused_and_unimodal(
    runs: Iterable[RunRecord], all_runs: Sequence[RunRecord], split: str, metric: str
) -> dict[str, list[FusedAndUnimodal]]:
    """Return the runs for which both are known, by the source of the unimodal metrics."""
    by_source: dict[str, list[FusedAndUnimodal]] = {}
    for run in runs:
        fused = run["metrics"].get(split, {}).get(metric)
        unimodal = find_unimodal_metrics(run, all_runs, split, metric)
        if run["primary_head"] == "fused" and fused is not None and unimodal is not None:
            by_source.setdefault(unimodal.source, []).append(FusedAndUnimodal(fused, unimodal.by_modality))
    return by_source


def _format_synergy(pairs: Sequence[FusedAndUnimodal], modalities: Iterable[str], lower_is_better: bool) -> list[str]:
    """Return the cells: number of runs, mean metrics, mean synergy gap and its interval."""
    fused, gaps = [], []
    for pair in pairs:
        fused.append(pair.fused)
        gaps.append(compute_synergy_gap(pair.fused, pair.by_modality, lower_is_better))
    cells = [str(len(pairs)), format_number(float(np.mean(fused)))]
    for modality in modalities:
        reached = [pair.by_modality[modality] for pair in pairs if modality in pair.by_modality]
        cells.append(format_number(float(np.mean(reached))) if reached else "-")
    gap = statistics.estimate_mean(gaps)
    mark = " !" if gap.value <= 0 else ""
    return [*cells, f"{format_signed(gap.value)}{mark}", format_interval(gap.low, gap.high)]


def find_unimodal_metrics(
    run: RunRecord, other_runs: Iterable[RunRecord], split: str, metric: str
) -> UnimodalMetrics | None:
    """Find what each modality of a run reaches alone, from the best source available.

    The sources, best first: encoders trained alone, by another run on the same terms or by the one that `mmrun eval`
    was given; the run's own probes; the run itself with the other modalities absent, which flatters the fusion.

    Args:
        run: a run with a fused head.
        other_runs: in which a run of probes is looked for.
        split: of the metric.
        metric: its name.

    Returns:
        The metric by modality, and its source; None where no source has it.
    """
    for other_run in other_runs:
        if other_run["primary_head"] != "fused" and _is_comparable(run, other_run):
            probes = _read_probes(other_run, run, split, metric)
            if probes:
                return UnimodalMetrics(probes, TRAINED)
    evaluation = read_evaluation(run, split)
    synergy = None if evaluation is None else evaluation["synergy"].get(metric)
    if synergy is not None and synergy["ceilings"] != OWN_CEILINGS:
        return UnimodalMetrics(synergy["alone"], TRAINED)
    probes = _read_probes(run, run, split, metric)
    if probes:
        return UnimodalMetrics(probes, PROBES)
    return None if synergy is None else UnimodalMetrics(synergy["alone"], ABSENT)


def compute_synergy_gap(fused: float, by_modality: Mapping[str, float], lower_is_better: bool) -> float:
    """Return the gain of the fusion over the best modality.

    Args:
        fused: metric with all modalities.
        by_modality: metric of each modality alone.
        lower_is_better: direction of the metric.

    Returns:
        A difference in the metric's own unit; positive where the fusion is better.
    """
    if lower_is_better:
        return min(by_modality.values()) - fused
    return fused - max(by_modality.values())


def _is_comparable(run: RunRecord, other_run: RunRecord) -> bool:
    """Return whether two runs were trained on the same rows, with the same encoders, seed and budget."""
    for key in ("fingerprint", "split", "labelled"):
        if run["dataset"][key] != other_run["dataset"][key]:
            return False
    same_encoders = run["config"]["encoder"] == other_run["config"]["encoder"]
    return same_encoders and bool(run["seed"] == other_run["seed"] and run["budget"] == other_run["budget"])


def _read_probes(probed_run: RunRecord, run: RunRecord, split: str, metric: str) -> dict[str, float] | None:
    """Return the metric of one run's probes by modality; None unless there is a probe for each modality of `run`."""
    metrics = probed_run["metrics"].get(split, {})
    probes = {}
    for modality in run["config"]["encoder"]:
        value = metrics.get(f"{metric}/{modality}")
        if value is None:
            return None
        probes[modality] = value
    return probes


# ------------------------------------------------------------------------------------------------ missing modalities


def _collect_shapley_values(evaluations: Evaluations, metric: str) -> dict[Group, dict[str, list[float]]]:
    """Return by group and modality the Shapley value in each run."""
    values: dict[Group, dict[str, list[float]]] = {}
    for group, group_evaluations in evaluations.items():
        values[group] = {}
        for evaluation in group_evaluations:
            for modality, value in evaluation["shapley"][metric]["absent"].items():
                values[group].setdefault(modality, []).append(value)
    return values


def average_subsets(evaluations: Sequence[Evaluation], metric: str) -> SubsetMeans:
    """Average the metric over runs, for each subset of the modalities and each way to fill the missing ones.

    Args:
        evaluations: of the runs of one group, at least one; all have the same subsets and fills.
        metric: name of the metric.

    Returns:
        The means, subsets in the order of the first run.
    """
    first_run = evaluations[0]["missing"]
    fills = list(first_run)
    subsets = [" + ".join(subset["present"]) for subset in first_run[fills[0]]]
    run_values = []
    for evaluation in evaluations:
        fill_values = []
        for fill in fills:
            fill_values.append([subset["metrics"][metric] for subset in evaluation["missing"][fill]])
        run_values.append(fill_values)
    means = np.mean(run_values, axis=0)  # [fills, subsets]
    return SubsetMeans(subsets, fills, means.T)


def plot_missing_modalities(group: Group, subset_means: SubsetMeans, metric: str) -> Plot:
    """Plot the metric of every subset of the modalities, under each way to fill the missing ones.

    Args:
        group: whose runs were averaged.
        subset_means: of the group.
        metric: name of the metric.

    Returns:
        A heat map, a row for each subset.
    """
    subsets, fills, means = subset_means

    def draw(axes: Axes) -> None:
        low, high = float(means.min()), float(means.max())
        draw_heatmap(axes, means, subsets, fills, lambda value: f"{value:.3f}", low, high)
        axes.set_xlabel("missing modalities are")
        axes.set_ylabel("present modalities")

    name = format_group(group)
    described = []
    for subset, row in zip(subsets, means, strict=True):
        described.append(f"{subset}: {format_number(float(row[0]))}")
    caption = f"{name}: {metric} with modalities missing, mean over the seeds"
    alt = f"Heat map of {metric} of {name} by present modalities. {'; '.join(described)}."
    return Plot(f"missing-{name}", caption, alt, draw, width=4.4, height=1.1 + 0.3 * len(subsets))


def plot_shapley_values(values: Mapping[Group, Mapping[str, Sequence[float]]], metric: str, styles: Styles) -> Plot:
    """Plot Shapley values: what a modality adds on average over all orders in which modalities can be added.

    Args:
        values: by group and modality, one for each run.
        metric: name of the metric.
        styles: of the groups.

    Returns:
        A bar chart.
    """
    modalities = merge_keys(values.values())

    def draw(axes: Axes) -> None:
        draw_bars(axes, values, modalities, styles)
        axes.set_ylabel(f"Shapley value of {metric}")

    caption = f"contribution of each modality: Shapley values of {metric}; bars are means, dots are runs"
    alt = f"Bar chart of Shapley values. {describe_groups(values, describe_means)}."
    return Plot("shapley", caption, alt, draw)
