"""The section on what each modality is worth: alone, against all together, and missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results import evaluations, statistics
from mmrun.results.compare import Question
from mmrun.results.evaluations import OWN_CEILINGS, Evaluation
from mmrun.results.formatting import format_interval, format_number, format_signed
from mmrun.results.report.charts import bars, heat
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Group
from mmrun.results.tables import Table

Kept = dict[Group, list[Evaluation]]  # what `mmrun eval` found about the runs of each group

TRAINED = "encoders trained alone"
PROBES = "its own probes"
ABSENT = "itself, the others absent"


class Alone(NamedTuple):
    """What one modality reaches at a time, by modality, and who says so."""

    figures: dict[str, float]
    source: str


def kept(groups: Mapping[Group, list[RunRecord]], metric: str) -> tuple[str, Kept]:
    """Read what `mmrun eval` found about a split, and name the figure that it is about: the metric where it has that.

    It knows the primary metric of each task: of another figure of a task, that one stands in its place.
    """
    split, _, name = metric.partition("/")
    every = {group: [evaluations.read_evaluation(run, split) for run in runs] for group, runs in groups.items()}
    found = {group: [one for one in read if one is not None] for group, read in every.items()}
    found = {group: read for group, read in found.items() if read}
    primary_metrics = [one["primary_metrics"] for read in found.values() for one in read]
    if primary_metrics and name not in primary_metrics[0]:
        task = f"{name.rpartition('.')[0]}."
        name = next(
            (primary_metric for primary_metric in primary_metrics[0] if primary_metric.startswith(task)),
            primary_metrics[0][0],
        )
    return name, {group: read for group, read in found.items() if all(name in one["primary_metrics"] for one in read)}


def section(
    groups: Mapping[Group, list[RunRecord]], found: Kept, name: str, question: Question, look: Mapping[Group, Look]
) -> Section | None:
    """Show what fusion adds to single modalities, and what `mmrun eval` found about the groups that it was asked about.

    What a modality reaches alone is known without `mmrun eval` where probes were trained on the same data.
    """
    split = question.metric.partition("/")[0]
    every = [run for runs in groups.values() for run in runs]
    gaps = _synergy(groups, split, name, replace(question, metric=f"{split}/{name}").lower_is_better)
    told = [unasked(every, question), _untaught(found)]
    if not (gaps.rows or found or told[0]):
        return None
    drawn = [missing(group, *subsets(read, name), name) for group, read in found.items()]
    return Section(
        "What each modality is worth",
        " ".join(line for line in told if line),
        [gaps] if gaps.rows else [],
        [shapley({group: worth(read, name) for group, read in found.items()}, name, look), *drawn] if found else [],
    )


def unasked(runs: Sequence[RunRecord], question: Question) -> str:
    """Describe how to evaluate runs without a modality, where some are not evaluated; "" where all are."""
    fused = [run for run in runs if run["primary_head"] == "fused"]
    lacking = len(evaluations.find_unevaluated(fused, question.metric.partition("/")[0]))
    if not lacking:
        return ""
    return (
        f"{lacking} of {len(fused)} runs were not asked what they say when modalities are missing or spoiled; "
        "the same command with --eval asks them first."
    )


def _untaught(found: Kept) -> str:
    groups = [",".join(group) for group, read in found.items() if not all(one["saw_missing"] for one in read)]
    if not groups:
        return ""
    return (
        f"No row of the training data of {', '.join(groups)} lacked a modality: what they say without one is a guess."
    )


# ----------------------------------------------------------------------------------------- one modality at a time


def _synergy(groups: Mapping[Group, list[RunRecord]], split: str, name: str, lower: bool) -> Table:
    """Show what the fusion adds to the best modality alone."""
    every = [run for runs in groups.values() for run in runs]
    modalities = list(dict.fromkeys(modality for run in every for modality in run["config"]["encoder"]))
    rows = []
    for group, runs in groups.items():
        by_source: dict[str, list[tuple[float, dict[str, float]]]] = {}
        for run in runs:
            fused = run["metrics"].get(split, {}).get(name)
            said = alone(run, every, split, name)
            if run["primary_head"] == "fused" and fused is not None and said is not None:
                by_source.setdefault(said.source, []).append((fused, said.figures))
        for source, pairs in by_source.items():
            gaps = [gap(fused, figures, lower) for fused, figures in pairs]
            of_modality = [_mean([figures.get(modality) for _, figures in pairs]) for modality in modalities]
            estimate = statistics.estimate_mean(gaps)
            said_gap = f"{format_signed(estimate.value)}{' !' if estimate.value <= 0 else ''}"
            fused_mean = _mean([fused for fused, _ in pairs])
            cells = [str(len(pairs)), fused_mean, *of_modality, said_gap, format_interval(estimate.low, estimate.high)]
            rows.append([",".join(group), source, *cells])
    header = ["group", "alone is", "runs", "fused", *(f"{modality} alone" for modality in modalities)]
    caption = f"{split}/{name}, means of runs; the gap is what all together gain over the best alone; ! not above 0"
    return Table(caption, [*header, "synergy gap", "95 % interval"], rows, 2)


def alone(run: RunRecord, others: Sequence[RunRecord], split: str, name: str) -> Alone | None:
    """Return what each modality of a run reaches alone, from the best source available.

    Encoders trained alone on the same terms; what `mmrun eval` was given; the run's own probes; the run with the other
    modalities absent, which flatters the fusion.
    """
    found = evaluations.read_evaluation(run, split)
    said = None if found is None or name not in found["synergy"] else found["synergy"][name]
    for other in others:
        if other["primary_head"] != "fused" and _alike(run, other) and (figures := _probes(other, run, split, name)):
            return Alone(figures, TRAINED)
    if said is not None and said["ceilings"] != OWN_CEILINGS:
        return Alone(said["alone"], TRAINED)
    if figures := _probes(run, run, split, name):
        return Alone(figures, PROBES)
    return None if said is None else Alone(said["alone"], ABSENT)


def gap(fused: float, figures: Mapping[str, float], lower: bool) -> float:
    """Return the gain of the fusion over the best modality."""
    return min(figures.values()) - fused if lower else fused - max(figures.values())


def _alike(run: RunRecord, other: RunRecord) -> bool:
    """Return whether two runs learned from the same rows, with the same encoders, seed and budget."""
    same_rows = all(run["dataset"][key] == other["dataset"][key] for key in ("fingerprint", "split", "labelled"))
    same = all(run[key] == other[key] for key in ("seed", "budget"))
    return same_rows and same and run["config"]["encoder"] == other["config"]["encoder"]


def _probes(of: RunRecord, run: RunRecord, split: str, name: str) -> dict[str, float] | None:
    """Read the figures of a run's probes, where it has one for each modality of another."""
    figures = of["metrics"].get(split, {})
    found = {modality: figures.get(f"{name}/{modality}") for modality in run["config"]["encoder"]}
    known = {modality: value for modality, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return format_number(float(np.mean(known))) if known else "-"


# ------------------------------------------------------------------------------------------------ missing modalities


def worth(found: Sequence[Evaluation], name: str) -> dict[str, list[float]]:
    """Return the Shapley value of each modality, one a run."""
    values = [one["shapley"][name]["absent"] for one in found]
    return {modality: [one[modality] for one in values] for modality in values[0]}


def subsets(found: Sequence[Evaluation], name: str) -> tuple[list[str], list[str], np.ndarray]:  # [subsets, fills]
    """Return the mean figure of each subset of the modalities, under each way to fill what is missing."""
    having = [one["missing"] for one in found]
    fills = list(having[0])
    named = [" + ".join(each["present"]) for each in having[0][fills[0]]]
    values = [[[each["metrics"][name] for each in one[fill]] for fill in fills] for one in having]
    return named, fills, np.mean(values, axis=0).T


def missing(group: Group, named: Sequence[str], fills: Sequence[str], values: np.ndarray, metric: str) -> Plot:
    """Show the figure of every subset of the modalities, under each way to fill what is missing."""

    def draw(axes: Axes) -> None:
        heat(axes, values, named, fills, lambda value: f"{value:.3f}", float(values.min()), float(values.max()))
        axes.set_xlabel("what is missing is")
        axes.set_ylabel("what is there")

    name = ",".join(group)
    said = "; ".join(f"{subset}: {format_number(float(row[0]))}" for subset, row in zip(named, values, strict=True))
    caption = f"{name}: {metric} with modalities missing, mean over the seeds"
    alt = f"Heat map of {metric} of {name} by what is there. {said}."
    return Plot(f"missing-{name}", caption, alt, draw, width=4.4, height=1.1 + 0.3 * len(named))


def shapley(found: Mapping[Group, Mapping[str, Sequence[float]]], metric: str, look: Mapping[Group, Look]) -> Plot:
    """Show what each modality adds on average over all orders in which modalities can be added."""
    modalities = list(dict.fromkeys(modality for values in found.values() for modality in values))

    def draw(axes: Axes) -> None:
        bars(axes, found, modalities, look)
        axes.set_ylabel(f"Shapley value of {metric}")

    said = "; ".join(
        f"{','.join(group)}: " + ", ".join(f"{m} {format_number(float(np.mean(each)))}" for m, each in values.items())
        for group, values in found.items()
    )
    caption = f"what each modality is worth: Shapley values of {metric}, bars are means, dots are runs"
    return Plot("shapley", caption, f"Bar chart of Shapley values. {said}.", draw)
