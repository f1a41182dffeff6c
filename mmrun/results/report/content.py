"""From findings to sections of tables and plots: the order in which one reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmrun.results import records, selection, tables
from mmrun.results.compare import Question
from mmrun.results.report import classes, contribution, drift, gradients, logs, plots, provenance, robustness, subgroups
from mmrun.results.report.answer import Answer, answers
from mmrun.results.report.findings import Findings, Setting
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look, looks
from mmrun.results.schema import CostName, RunRecord
from mmrun.results.selection import Group

DRAWN = 6  # settings that get pictures of their own
EPOCHS = "epochs (each modality counting its part)"
COSTS = {"flops": "FLOPs", "seconds": "seconds of training", "epochs": EPOCHS}


@dataclass(frozen=True)
class Report:
    """All that a page or a paper shows."""

    title: str
    about: str
    answers: list[Answer]
    caveats: list[str]
    hint: str  # what more could be known; "" where all is
    sections: list[Section]
    records: list[dict[str, Any]]  # the figures in full


def compose(findings: Findings) -> Report:
    """Put findings in the order in which one reads them."""
    question = findings.question
    every = [row.group for setting in findings.settings for row in setting.compared.rows]
    look = looks(list(dict.fromkeys(every)))
    machines = logs.environments(findings.runs)
    memory = not any(device == "cpu" for device in machines.get("device", {"cpu": 1}))
    sections = [*_across(findings, look)]
    for place, setting in enumerate(findings.settings):
        sections += _setting(findings, setting, look, drawn=place < DRAWN)
    sections += [provenance.configs(findings, list(look)), provenance.environment(machines), provenance.runs(findings)]
    return Report(
        title=f"{question.metric} by {', '.join(question.by)}",
        about=tables.describe_question(question),
        answers=answers(findings, memory),
        caveats=_caveats(findings, machines, memory),
        hint=contribution.unasked(findings.runs, question),
        sections=sections,
        records=_records(findings),
    )


def _caveats(findings: Findings, machines: Mapping[str, Mapping[str, int]], memory: bool) -> list[str]:
    """Return the caveats of the answers; those that concern all runs come first."""
    found = list(findings.notices)
    places: dict[str, list[str]] = {}
    for setting in findings.settings:
        for notice in setting.compared.notices:
            places.setdefault(notice, []).append(findings.where(setting))
    for notice, where in places.items():
        everywhere = len(where) == len(findings.settings)
        found.append(notice if everywhere else f"at {selection.list_names(where, 'setting')}: {notice}")
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
        yield Section(title, tables=tables.build_tables(curves), plots=[plots.crossover(curves, look)])
    if findings.ranking is not None:
        title = f"Over {', '.join(findings.ranking.over)}"
        yield Section(
            title,
            tables=[tables.build_rank_table(findings.ranking)],
            plots=[plots.critical_difference(findings.ranking, look)],
        )


def _setting(findings: Findings, setting: Setting, look: Mapping[Group, Look], drawn: bool) -> Iterator[Section]:
    where = findings.where(setting)
    suffix = f" at {where}" if where else ""
    compared = tables.build_tables(setting.compared)
    if not drawn:
        yield Section(f"Comparison{suffix}", f"Plots are drawn for the first {DRAWN} settings.", compared, closed=True)
        return
    cells = selection.group_runs(setting.runs, findings.question.by)
    groups = {row.group: cells[row.group] for row in setting.compared.rows}
    folded = len(findings.settings) > 1
    yield Section(f"Comparison{suffix}", tables=compared, plots=_quality(setting, groups, look))
    for section in _evidence(groups, findings.question, look):
        section.title, section.closed, section.listed = f"{section.title}{suffix}", folded, not folded
        yield section


def _evidence(
    groups: Mapping[Group, list[RunRecord]], question: Question, look: Mapping[Group, Look]
) -> Iterator[Section]:
    """Return the sections on further results, each where some run has them."""
    unit = logs.spent_in([run for runs in groups.values() for run in runs])
    words = COSTS[unit]
    name, kept = contribution.kept(groups, question.metric)
    parts = (
        _learning(groups, question.metric, unit, words, look),
        contribution.section(groups, kept, name, question, look),
        robustness.section(kept, name, look),
        subgroups.section(kept, name, look),
        classes.section(groups, question.metric, look),
        gradients.section(groups, unit, words, look),
        drift.section(kept, look),
    )
    yield from (part for part in parts if part is not None)


def _quality(setting: Setting, groups: Mapping[Group, list[RunRecord]], look: Mapping[Group, Look]) -> list[Plot]:
    rows = setting.compared.rows
    known = [cost for cost in ("flops", "seconds") if all(row.cost[cost] is not None for row in rows)]
    return [plots.quality_over_cost(setting.compared, groups, cost, COSTS[cost], look) for cost in known]


def _learning(
    groups: Mapping[Group, list[RunRecord]], metric: str, unit: CostName, words: str, look: Mapping[Group, Look]
) -> Section | None:
    name = f"val/{metric.partition('/')[2]}"
    every = {group: [logs.curve(logs.evaluated(run, unit), name) for run in runs] for group, runs in groups.items()}
    drawn = {group: [curve for curve in curves if len(curve)] for group, curves in every.items()}
    drawn = {group: curves for group, curves in drawn.items() if curves}
    return Section("Learning curves", plots=[plots.learning(drawn, name, words, look)]) if drawn else None


def _records(findings: Findings) -> list[dict[str, Any]]:
    found = []
    for setting in findings.settings:
        where = dict(zip(findings.apart, setting.values, strict=True))
        found += [{**where, **record} for record in records.to_records(setting.compared)]
    return found
