"""The section on the modalities' gradients in training, as `trainer.log_modality_gradients=true` logs them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.groups import drop_empty, format_group, map_groups, merge_keys
from mmrun.results.report.logs import LoggedEvaluation, extract_curve, read_logged_evaluations
from mmrun.results.report.plots import Plot, describe_curves, make_curve_drawer
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles
from mmrun.results.run_values import Group
from mmrun.results.schema import CostName, RunRecord
from mmrun.results.table import Table

MAX_PAIRS = 6  # pairs of modalities whose cosine is plotted
SHARE, CONFLICT = "gradient/", "conflict/"  # prefixes of the logged names

LoggedRuns = dict[Group, list[list[LoggedEvaluation]]]  # by group, a list for each run


def build_section(
    groups: Mapping[Group, Iterable[RunRecord]], unit: CostName, budget_label: str, styles: Styles
) -> Section | None:
    """Build the section from the stages that trained several modalities at once.

    Args:
        groups: runs by group.
        unit: the cost that the budget is counted in.
        budget_label: of the horizontal axes.
        styles: of the groups.

    Returns:
        The section; None where no run logged the gradients of its modalities.
    """
    logged = _read_joint_training(groups, unit)
    if not logged:
        return None
    shares, conflicts = _collect_names(logged, SHARE), _collect_names(logged, CONFLICT)
    plots = []
    for name in shares:
        plots.append(_plot_share(logged, name, budget_label, styles, len(shares)))
    for name in conflicts[:MAX_PAIRS]:
        plots.append(_plot_conflict(logged, name, budget_label, styles))
    text = (
        "The share of a modality is the norm of the loss's gradient in its encoder, divided by the sum over all "
        "encoders. A cosine below 0 is a conflict: in shared parameters the gradients of two modalities point in "
        "opposing directions."
    )
    return Section("Gradients of the modalities", text, [_tabulate(logged, shares, conflicts)], plots)


def _read_joint_training(groups: Mapping[Group, Iterable[RunRecord]], unit: CostName) -> LoggedRuns:
    """Return by group the runs with evaluations that hold the gradients of several modalities, and these alone."""
    by_group: LoggedRuns = {}
    for group, runs in groups.items():
        by_group[group] = []
        for run in runs:
            joint = _select_joint(read_logged_evaluations(run, unit))
            if joint:
                by_group[group].append(joint)
    return drop_empty(by_group)


def _select_joint(evaluations: Iterable[LoggedEvaluation]) -> list[LoggedEvaluation]:
    return [evaluation for evaluation in evaluations if _count_shares(evaluation) > 1]


def _count_shares(evaluation: LoggedEvaluation) -> int:
    return sum(name.startswith(SHARE) for name in evaluation.logged)


def _collect_names(logged: LoggedRuns, prefix: str) -> list[str]:
    """Return the logged names with a prefix, in the order of first appearance."""
    evaluations = chain.from_iterable(chain.from_iterable(logged.values()))
    return [name for name in merge_keys(evaluation.logged for evaluation in evaluations) if name.startswith(prefix)]


def _extract_curves(runs: Iterable[Sequence[LoggedEvaluation]], name: str) -> list[np.ndarray]:
    """Return the curve [N, 2] of each run that logged the name."""
    curves = []
    for evaluations in runs:
        curve = extract_curve(evaluations, name)
        if len(curve):
            curves.append(curve)
    return curves


def _tabulate(logged: LoggedRuns, shares: Sequence[str], conflicts: Sequence[str]) -> Table:
    header, rows = ["group", "runs"], []
    for name in shares:
        header.append(f"share of {_strip_prefix(name)}")
    for name in conflicts:
        header.append(f"cosine {_strip_prefix(name)}")
    for group, runs in logged.items():
        cells = [format_group(group), str(len(runs))]
        for name in shares:
            cells.append(format_number(_average(runs, name)))
        for name in conflicts:
            cells.append(format_signed(_average(runs, name)))
        rows.append(cells)
    return Table("gradients of the modalities, means over training and runs", header, rows)


def _average(runs: Iterable[Sequence[LoggedEvaluation]], name: str) -> float | None:
    """Return the mean over training and runs; None where no run logged the name."""
    means = [curve[:, 1].mean() for curve in _extract_curves(runs, name)]
    return float(np.mean(means)) if means else None


def _strip_prefix(name: str) -> str:
    return name.partition("/")[2]


def _plot_share(logged: LoggedRuns, name: str, budget_label: str, styles: Styles, num_modalities: int) -> Plot:
    label = f"gradient share of {_strip_prefix(name)}"
    return _plot(logged, name, label, budget_label, styles, 1 / num_modalities, "an equal share")


def _plot_conflict(logged: LoggedRuns, name: str, budget_label: str, styles: Styles) -> Plot:
    return _plot(logged, name, f"cosine of {_strip_prefix(name)}", budget_label, styles, 0.0, "no conflict")


def _plot(
    logged: LoggedRuns, name: str, label: str, budget_label: str, styles: Styles, level: float, level_meaning: str
) -> Plot:
    """Plot a share or a cosine over the budget, with a dotted line at a reference level."""
    curves = drop_empty(map_groups(lambda runs: _extract_curves(runs, name), logged))
    return Plot(
        name.replace("/", "-"),
        f"{label} while the budget is spent; the dotted line is {level_meaning}",
        f"{label} over {budget_label}. {describe_curves(curves)}.",
        make_curve_drawer(curves, label, budget_label, styles, level),
        width=4.0,
        height=3.0,
    )
