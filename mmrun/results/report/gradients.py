"""The section on how modalities share in learning: what `trainer.log_modality_gradients=true` logged."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report import plots
from mmrun.results.report.logs import Events, curve, evaluated, mean_curve
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look
from mmrun.results.schema import CostName, RunRecord
from mmrun.results.selection import Group
from mmrun.results.tables import Table

PAIRS = 6  # of modalities, that are drawn
SHARE, CONFLICT = "gradient/", "conflict/"


def section(
    groups: Mapping[Group, list[RunRecord]], unit: CostName, words: str, look: Mapping[Group, Look]
) -> Section | None:
    """Show the groups of which some run was diagnosed, in the stages that teach several modalities at once."""
    every = {group: [_joint(evaluated(run, unit)) for run in runs] for group, runs in groups.items()}
    found = {group: [events for events in of_group if events] for group, of_group in every.items()}
    found = {group: of_group for group, of_group in found.items() if of_group}
    if not found:
        return None
    names = list(dict.fromkeys(n for runs in found.values() for events in runs for _, event in events for n in event))
    shares, conflicts = ([name for name in names if name.startswith(kind)] for kind in (SHARE, CONFLICT))
    drawn = [_picture(found, name, words, look, 1 / len(shares)) for name in shares]
    drawn += [_picture(found, name, words, look, 0.0) for name in conflicts[:PAIRS]]
    text = (
        "The share of a modality is the norm of the loss's gradient in its encoder, out of all encoders'. A cosine "
        "below 0 is a conflict: the gradients that two modalities give to what they share pull against each other."
    )
    return Section("How the modalities share in learning", text, [_table(found, shares, conflicts)], drawn)


def _joint(events: Events) -> Events:
    return [(spent, event) for spent, event in events if sum(name.startswith(SHARE) for name in event) > 1]


def _of(runs: Sequence[Events], name: str) -> list[np.ndarray]:
    return [found for events in runs if len(found := curve(events, name))]


def _table(found: Mapping[Group, Sequence[Events]], shares: Sequence[str], conflicts: Sequence[str]) -> Table:
    rows = []
    for group, runs in found.items():
        cells = []
        for name in [*shares, *conflicts]:
            means = [each[:, 1].mean() for each in _of(runs, name)]
            write = format_number if name in shares else format_signed
            cells.append(write(float(np.mean(means)) if means else None))
        rows.append([",".join(group), str(len(runs)), *cells])
    header = [*(f"share of {_name(name)}" for name in shares), *(f"cosine {_name(name)}" for name in conflicts)]
    caption = "gradients of the modalities, means over training and runs"
    return Table(caption, ["group", "runs", *header], rows)


def _name(figure: str) -> str:
    return figure.partition("/")[2]


def _picture(
    found: Mapping[Group, Sequence[Events]], name: str, words: str, look: Mapping[Group, Look], level: float
) -> Plot:
    """Show a share or a conflict while the budget is spent; the dotted line is where all are level."""
    curves = {group: each for group, runs in found.items() if (each := _of(runs, name))}
    means = {group: mean_curve(each) for group, each in curves.items()}
    what = f"gradient share of {_name(name)}" if name.startswith(SHARE) else f"cosine of {_name(name)}"
    said = "; ".join(
        f"{','.join(g)} from {format_number(m[0, 1])} to {format_number(m[-1, 1])}" for g, m in means.items()
    )
    level_is = "an equal share" if name.startswith(SHARE) else "no conflict"
    return Plot(
        name.replace("/", "-"),
        f"{what} while the budget is spent; the dotted line is {level_is}",
        f"{what} over {words}. {said}.",
        plots.over_budget(curves, what, words, look, level),
        width=4.0,
        height=3.0,
    )
