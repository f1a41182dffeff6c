"""The section on how encoders change after the stage that first trains them, from `mmrun eval --all`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.evaluation_schema import EncoderDrift, Evaluation
from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.charts import draw_bars
from mmrun.results.report.evaluation import Evaluations
from mmrun.results.report.groups import (
    describe_groups,
    describe_means,
    drop_empty,
    format_group,
    map_groups,
    merge_keys,
)
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles
from mmrun.results.run_values import Group
from mmrun.results.table import Table

Drift = dict[str, list[EncoderDrift]]  # by modality, one for each run


class ProbeChange(NamedTuple):
    """Mean accuracies of a linear probe on one encoder of a group."""

    group: Group
    modality: str
    before: float
    after: float


def build_section(evaluations: Evaluations, styles: Styles) -> Section | None:
    """Build the section from the groups in which a stage before the last one trained an encoder.

    Returns:
        The section; None where no run has an encoder that a later stage could change.
    """
    drifts = drop_empty(map_groups(_collect_drift, evaluations))
    if not drifts:
        return None
    tasks = _collect_tasks(drifts.values())
    text = (
        "How each encoder changed after the stage that first trained it. CKA is 1 where the geometry of its features "
        "is unchanged; the accuracy of a linear probe shows how much they tell about the target, before and after."
    )
    plots = [plot_cka(drifts, styles)]
    for task in tasks:
        plots.append(plot_probes(drifts, task, styles))
    return Section("Encoder drift", text, [_tabulate(drifts, tasks)], plots)


def _collect_drift(evaluations: Iterable[Evaluation]) -> Drift:
    drift: Drift = {}
    for evaluation in evaluations:
        for modality, run_drift in evaluation.get("drift", {}).items():
            drift.setdefault(modality, []).append(run_drift)
    return drift


def _collect_tasks(drifts: Iterable[Drift]) -> list[str]:
    """Return the tasks that linear probes were fitted to, in the order of first appearance."""
    by_encoder = chain.from_iterable(drift.values() for drift in drifts)
    return merge_keys(runs[0]["probe"] for runs in by_encoder)


def _tabulate(drifts: Mapping[Group, Drift], tasks: Sequence[str]) -> Table:
    rows = []
    for group, drift in drifts.items():
        for modality, runs in drift.items():
            cells = [format_group(group), modality, _list_stages(runs), str(len(runs))]
            cells.append(format_number(float(np.mean(_list_cka(runs)))))
            for task in tasks:
                before, after = _average_probe(runs, task)
                cells += [format_number(before), format_number(after), format_signed(after - before)]
            rows.append(cells)
    header = ["group", "encoder", "first trained in", "runs", "CKA"]
    for task in tasks:
        prefix = "" if len(tasks) == 1 else f"{task}: "
        header += [f"{prefix}probe before", f"{prefix}probe after", f"{prefix}change"]
    caption = "encoders at the end of the stage that first trained them, and of the run; means over runs"
    return Table(caption, header, rows, 3)


def _list_stages(runs: Iterable[EncoderDrift]) -> str:
    """Return the stages that first trained the encoder, each once."""
    return ", ".join(dict.fromkeys(run["after_stage"] for run in runs))


def _list_cka(runs: Iterable[EncoderDrift]) -> list[float]:
    return [run["cka"] for run in runs]


def _average_probe(runs: Sequence[EncoderDrift], task: str) -> tuple[float, float]:
    """Return a probe's mean accuracies before and after; NaN where no run has the task."""
    probes = [run["probe"][task] for run in runs if task in run["probe"]]
    if not probes:
        return math.nan, math.nan
    return float(np.mean([probe["before"] for probe in probes])), float(np.mean([probe["after"] for probe in probes]))


def plot_cka(drifts: Mapping[Group, Drift], styles: Styles) -> Plot:
    """Plot the similarity of each encoder's features before and after (linear CKA: Kornblith et al., 2019).

    Args:
        drifts: by group, then by modality.
        styles: of the groups.

    Returns:
        A bar chart; 1 means that the geometry of the features is unchanged.
    """
    values: dict[Group, dict[str, list[float]]] = {}
    for group, drift in drifts.items():
        values[group] = {}
        for modality, runs in drift.items():
            values[group][modality] = _list_cka(runs)
    modalities = merge_keys(values.values())

    def draw(axes: Axes) -> None:
        draw_bars(axes, values, modalities, styles)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("CKA of an encoder's features")

    caption = "similarity of an encoder's features before and after: 1 is unchanged; bars are means, dots are runs"
    alt = f"Bar chart of linear CKA. {describe_groups(values, describe_means)}."
    return Plot("cka", caption, alt, draw, width=4.4, height=3.0)


def plot_probes(drifts: Mapping[Group, Drift], task: str, styles: Styles) -> Plot:
    """Plot the accuracy of a linear probe on each encoder, before and after.

    Args:
        drifts: by group, then by modality.
        task: that the probe predicts.
        styles: of the groups.

    Returns:
        A line for each encoder from an open mark (before) to a filled one (after).
    """
    changes = []
    for group, drift in drifts.items():
        for modality, runs in drift.items():
            changes.append(ProbeChange(group, modality, *_average_probe(runs, task)))
    names, described = [], []
    for group, modality, before, after in changes:
        names.append(f"{format_group(group)}: {modality}" if len(drifts) > 1 else modality)
        described.append(f"{format_group(group)} {modality} from {format_number(before)} to {format_number(after)}")
    caption = "accuracy of a linear probe on each encoder: open marks before, filled ones after; means over runs"
    alt = f"Accuracy of linear probes. {'; '.join(described)}."
    height = max(2.2, 1.2 + 0.3 * len(changes))
    return Plot(f"probe-{task}", caption, alt, _make_probe_drawer(changes, names, task, styles), height=height)


def _make_probe_drawer(
    changes: Sequence[ProbeChange], names: Sequence[str], task: str, styles: Styles
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for row, change in enumerate(changes):
            color, marker = styles[change.group].color, styles[change.group].marker
            axes.plot([change.before, change.after], [row, row], color=color, linewidth=1.5)
            axes.plot([change.before], [row], color=color, marker=marker, markerfacecolor="none", markersize=7)
            axes.plot([change.after], [row], color=color, marker=marker, markersize=7)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.margins(y=0.5 / len(names) + 0.05)
        axes.set_xlabel(f"accuracy of a linear probe ({task})")

    return draw
