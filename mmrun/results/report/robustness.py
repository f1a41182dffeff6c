"""The section on noise, from `mmrun eval --all`: the metric while one modality is corrupted more and more."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.evaluation_schema import ModalityRobustness, Robustness
from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.evaluation import Evaluations
from mmrun.results.report.groups import describe_groups, drop_empty, format_group, map_groups, merge_keys
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles, draw_legend
from mmrun.results.run_values import Group
from mmrun.results.table import Table


class Noise(NamedTuple):
    """The noise that is added to one modality."""

    modality: str
    corruptions: list[str]
    severities: list[float]


def build_section(evaluations: Evaluations, metric: str, styles: Styles) -> Section | None:
    """Build the section: a plot for each modality, and relative and effective robustness of each group.

    Args:
        evaluations: by group.
        metric: name of the metric, without its split.
        styles: of the groups.

    Returns:
        The section; None where no run was evaluated under noise.
    """
    robustness: dict[Group, list[Robustness]] = {}
    for group, group_evaluations in evaluations.items():
        robustness[group] = [evaluation["robustness"] for evaluation in group_evaluations if "robustness" in evaluation]
    robustness = drop_empty(robustness)
    if not robustness:
        return None
    severities = next(iter(robustness.values()))[0]["severities"]
    modalities = merge_keys(run["metrics"][metric] for run in chain.from_iterable(robustness.values()))
    plots = []
    for modality in modalities:
        by_group = drop_empty(map_groups(partial(_select, metric=metric, modality=modality), robustness))
        corruptions = list(next(iter(by_group.values()))[0]["curves"])
        noise = Noise(modality, corruptions, severities)
        plots.append(plot_noise_curves(noise, map_groups(_average_curve, by_group), metric, styles))
    text = (
        "One modality is corrupted at a time. Relative robustness is the mean of the metric over the severity of the "
        "noise. Effective robustness is what the model keeps beyond what the corrupted modality alone keeps: above 0 "
        "the other modalities compensate."
    )
    table = _tabulate(robustness, modalities, severities, metric)
    return Section("Robustness to noise", text, [table], plots)


def _select(runs: Iterable[Robustness], metric: str, modality: str) -> list[ModalityRobustness]:
    """Return the robustness of the runs that were evaluated under noise in the modality."""
    return [run["metrics"][metric][modality] for run in runs if modality in run["metrics"][metric]]


def _average_curve(runs: Iterable[ModalityRobustness]) -> np.ndarray:
    """Return the metric by severity, averaged over corruptions, then over runs."""
    run_curves = []
    for run in runs:
        corruption_curves = [curve["fused"] for curve in run["curves"].values()]
        run_curves.append(np.mean(corruption_curves, axis=0))
    average: np.ndarray = np.mean(run_curves, axis=0)
    return average


def _tabulate(
    robustness: Mapping[Group, Sequence[Robustness]],
    modalities: Sequence[str],
    severities: Sequence[float],
    metric: str,
) -> Table:
    rows = []
    for group, runs in robustness.items():
        for modality in modalities:
            selected = _select(runs, metric, modality)
            if not selected:
                continue
            relative, effective = [], []
            for run in selected:
                relative.append(run["relative"])
                effective.append(run["effective"])
            at_severities = map(format_number, _average_curve(selected).tolist())
            cells = [format_group(group), modality, str(len(selected)), *at_severities]
            rows.append([*cells, format_number(float(np.mean(relative))), format_signed(float(np.mean(effective)))])
    columns = [f"at {severity:g}" for severity in severities]
    header = ["group", "noise in", "runs", *columns, "relative", "effective"]
    return Table(f"{metric} by severity of the noise, means over corruptions and runs", header, rows, 2)


def plot_noise_curves(noise: Noise, curves: Mapping[Group, np.ndarray], metric: str, styles: Styles) -> Plot:
    """Plot the metric over the severity of the noise in one modality.

    Args:
        noise: that is added.
        curves: by group, [severities].
        metric: name of the metric, without its split.
        styles: of the groups.

    Returns:
        A line for each group.
    """
    modality, severities = noise.modality, noise.severities

    def draw(axes: Axes) -> None:
        for group, curve in curves.items():
            axes.plot(severities, curve, label=format_group(group), **styles[group].line_kwargs(0))
        axes.set_xlabel(f"noise in {modality} (severity)")
        axes.set_ylabel(metric)
        draw_legend(axes)

    described = describe_groups(
        curves, lambda c: f"from {format_number(c[0])} to {format_number(c[-1])}", separator=" "
    )
    caption = f"{metric} with {modality} corrupted ({', '.join(noise.corruptions)}), mean over the seeds"
    span = f"from {severities[0]:g} to {severities[-1]:g}"
    alt = f"Line plot of {metric} while noise in {modality} grows {span}. {described}."
    return Plot(f"noise-{modality}", caption, alt, draw, width=4.0, height=3.0)
