"""From findings to sections of tables and plots: the order in which one reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from mmrun.runs import records, selection, tables
from mmrun.runs.report import insight, logs, plots, provenance
from mmrun.runs.report.answer import Answer, answers
from mmrun.runs.report.findings import Findings, Setting
from mmrun.runs.report.plots import Look, Plot
from mmrun.runs.report.section import Section
from mmrun.runs.selection import Group, Metrics
from mmrun.runs.tables import Table
from mmrun.runs.wording import number, signed

DRAWN = 6  # settings that get pictures of their own
MATRICES = 6  # groups whose confusion is drawn
CLASSES = 20  # with more, a matrix cannot be read
EPOCHS = "epochs (each modality counting its part)"
COSTS = {"flops": "FLOPs", "seconds": "seconds of training", "epochs": EPOCHS}


@dataclass(frozen=True)
class Report:
    """All that a page or a paper shows."""

    title: str
    about: str
    answers: list[Answer]
    caveats: list[str]
    sections: list[Section]
    records: list[dict[str, Any]]  # the figures in full


def compose(findings: Findings) -> Report:
    """Put findings in the order in which one reads them."""
    question = findings.question
    every = [row.group for setting in findings.settings for row in setting.compared.rows]
    look = plots.looks(list(dict.fromkeys(every)))
    machines = logs.environments(findings.runs)
    memory = not any(device == "cpu" for device in machines.get("device", {"cpu": 1}))
    sections = [*_across(findings, look)]
    for place, setting in enumerate(findings.settings):
        sections += _setting(findings, setting, look, drawn=place < DRAWN)
    sections += [provenance.configs(findings, list(look)), provenance.environment(machines), provenance.runs(findings)]
    return Report(
        title=f"{question.metric} by {', '.join(question.by)}",
        about=tables.about(question),
        answers=answers(findings, memory),
        caveats=_caveats(findings, machines, memory),
        sections=sections,
        records=_records(findings),
    )


def _caveats(findings: Findings, machines: Mapping[str, Mapping[str, int]], memory: bool) -> list[str]:
    """Give everything to know before believing the answers, what concerns all runs first."""
    found = list(findings.notices)
    places: dict[str, list[str]] = {}
    for setting in findings.settings:
        for notice in setting.compared.notices:
            places.setdefault(notice, []).append(findings.where(setting))
    for notice, where in places.items():
        everywhere = len(where) == len(findings.settings)
        found.append(notice if everywhere else f"at {selection.counted(where, 'setting')}: {notice}")
    for name, curves in findings.curves:
        found += [f"{name}: {notice}" if name else notice for notice in curves.notices]
    if findings.ranking is not None:
        found += findings.ranking.notices
    for name, values in machines.items():
        if len(values) > 1:
            said = ", ".join(f"{value} (n={count})" for value, count in sorted(values.items()))
            found.append(f"{name} differs between compared runs: {said}")
    if not memory:
        found.append("memory is that of the whole process where runs trained on a CPU: it is not compared")
    return found


# --------------------------------------------------------------------------------------------- axis, rank, setting


def _across(findings: Findings, look: Mapping[Group, Look]) -> Iterator[Section]:
    for name, curves in findings.curves:
        title = f"Along {curves.across}{f' ({name})' if name else ''}"
        yield Section(title, tables=tables.tables(curves), plots=[plots.crossover(curves, look)])
    if findings.ranking is not None:
        title = f"Over {', '.join(findings.ranking.over)}"
        yield Section(
            title, tables=[tables.ranks(findings.ranking)], plots=[plots.critical_difference(findings.ranking, look)]
        )


def _setting(findings: Findings, setting: Setting, look: Mapping[Group, Look], drawn: bool) -> Iterator[Section]:
    where = findings.where(setting)
    suffix = f" at {where}" if where else ""
    compared = tables.tables(setting.compared)
    if not drawn:
        yield Section(f"Comparison{suffix}", f"Plots are drawn for the first {DRAWN} settings.", compared, closed=True)
        return
    cells = selection.grouped(setting.runs, findings.question.by)
    groups = {row.group: cells[row.group] for row in setting.compared.rows}
    folded = len(findings.settings) > 1
    yield Section(f"Comparison{suffix}", tables=compared, plots=_quality(setting, groups, look))
    curves = _learning(setting, groups, findings.question.metric, look)
    if curves is not None:
        yield Section(f"Learning curves{suffix}", plots=[curves], closed=folded, listed=not folded)
    worth = _worth(groups, findings.question.metric, look)
    if worth is not None:
        worth.title, worth.closed, worth.listed = f"{worth.title}{suffix}", folded, not folded
        yield worth
    classes = _classes(groups, findings.question.metric.partition("/")[0], look)
    if classes:
        yield Section(f"Calibration and classes{suffix}", plots=classes, closed=folded, listed=not folded)


def _quality(setting: Setting, groups: Mapping[Group, list[Metrics]], look: Mapping[Group, Look]) -> list[Plot]:
    rows = setting.compared.rows
    known = [cost for cost in ("flops", "seconds") if all(row.cost[cost] is not None for row in rows)]
    return [plots.quality_over_cost(setting.compared, groups, cost, COSTS[cost], look) for cost in known]


def _learning(
    setting: Setting, groups: Mapping[Group, list[Metrics]], metric: str, look: Mapping[Group, Look]
) -> Plot | None:
    unit, name = logs.spent_in(setting.runs), f"val/{metric.partition('/')[2]}"
    drawn = {}
    for group, runs in groups.items():
        curves = [curve for run in runs if len(curve := logs.learning_curve(run, name, unit))]
        if curves:
            drawn[group] = curves
    return plots.learning(drawn, name, COSTS[unit], look) if drawn else None


def _worth(groups: Mapping[Group, list[Metrics]], metric: str, look: Mapping[Group, Look]) -> Section | None:
    """Show what `mmrun eval` found about the groups that it was asked about."""
    split, _, name = metric.partition("/")
    found = {group: logs.evaluations(runs, split, name) for group, runs in groups.items()}
    found = {group: evaluated for group, evaluated in found.items() if evaluated}
    if not found:
        return None
    worth = {group: logs.worth(evaluated, name) for group, evaluated in found.items()}
    untaught = [",".join(group) for group, evaluated in found.items() if not all(e["saw_missing"] for e in evaluated)]
    said = (
        f"No row of the training data of {', '.join(untaught)} lacked a modality: what they say without one is a guess."
    )
    drawn = [insight.missing(group, *logs.missing(evaluated, name), name) for group, evaluated in found.items()]
    return Section(
        "What each modality is worth",
        said if untaught else "",
        [_synergy(found, name)],
        [insight.shapley(worth, name, look), *drawn],
    )


def _synergy(found: Mapping[Group, list[dict[str, Any]]], name: str) -> Table:
    """Show what the fusion adds to the best modality alone."""
    modalities = list(next(iter(found.values()))[0]["modalities"])
    rows = []
    for group, evaluated in found.items():
        said = [one["synergy"][name] for one in evaluated]
        alone = [number(mean(one["alone"][modality] for one in said)) for modality in modalities]
        gap = mean(one["gap"] for one in said)
        fused = number(mean(one["fused"] for one in said))
        rows.append([",".join(group), str(len(said)), fused, *alone, f"{signed(gap)}{' !' if gap <= 0 else ''}"])
    header = ["group", "runs", "fused", *(f"{modality} alone" for modality in modalities), "synergy gap"]
    caption = f"{name}, means of the runs that mmrun eval saw; the gap is fused less the best alone; ! adds nothing"
    return Table(caption, header, rows)


def _classes(groups: Mapping[Group, list[Metrics]], split: str, look: Mapping[Group, Look]) -> list[Plot]:
    """Draw calibration and confusion of the first task that has classes, from stored predictions."""
    found = {group: said for group, runs in groups.items() if (said := logs.classified(runs, split))}
    if not found:
        return []
    task = next(iter(next(iter(found.values()))))
    of_task = {group: said[task] for group, said in found.items() if task in said}
    drawn = [insight.calibration(of_task, look)]
    few = len(next(iter(of_task.values())).names) <= CLASSES
    return drawn + [insight.confusion(group, said) for group, said in list(of_task.items())[:MATRICES] if few]


def _records(findings: Findings) -> list[dict[str, Any]]:
    found = []
    for setting in findings.settings:
        where = dict(zip(findings.apart, setting.values, strict=True))
        found += [{**where, **record} for record in records.records(setting.compared)]
    return found
