"""From findings to sections of tables and plots, in the order in which a report is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mmrun.results import comparison_tables, records, selection
from mmrun.results.compare import Question
from mmrun.results.environment import count_environments, describe_differing
from mmrun.results.report import classes, contribution, drift, gradients, logs, plots, provenance, robustness, subgroups
from mmrun.results.report.answer import Answer, write_answers
from mmrun.results.report.evaluation import read_evaluations
from mmrun.results.report.findings import Findings, Setting
from mmrun.results.report.groups import drop_empty, map_groups
from mmrun.results.report.plots import Plot
from mmrun.results.report.question import describe_comparison, drop_statistics, has_single_runs, write_title
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles, assign_styles
from mmrun.results.run_values import Group
from mmrun.results.schema import CostName, RunRecord

MAX_PLOTTED_SETTINGS = 6
COSTS = {"flops": "FLOPs", "seconds": "seconds of training", "epochs": "epochs (each modality counts its share)"}


@dataclass(frozen=True)
class Report:
    """Everything that a page or a paper shows.

    Args:
        title: the question, with its data.
        about: what is compared, and how; why one group is the baseline.
        answers: the results in sentences, the most important ones first.
        caveats: what limits the answers.
        hint: which evaluations are missing, and how to make them; "" where none is.
        sections: in order.
        records: the comparisons in full, a flat mapping for each group and setting.
    """

    title: str
    about: str
    answers: list[Answer]
    caveats: list[str]
    hint: str
    sections: list[Section]
    records: list[dict[str, object]]


def build_report(findings: Findings, run_sections: Sequence[Section] = ()) -> Report:
    """Build a report from the results of its comparisons, and from what else the run folders hold.

    Args:
        findings: of `compute_findings`.
        run_sections: on single runs.

    Returns:
        The report; its plots are not drawn yet.
    """
    question = findings.question
    styles = assign_styles(_list_groups(findings))
    environments = count_environments(findings.runs)
    compare_memory = "cpu" not in environments.get("device", {"cpu": 1})
    sections = [*_build_overview(findings, styles)]
    for index, setting in enumerate(findings.settings):
        sections += _build_setting(findings, setting, styles, plotted=index < MAX_PLOTTED_SETTINGS)
    sections += [
        *run_sections,
        provenance.build_config_section(findings, list(styles)),
        provenance.build_environment_section(environments),
        provenance.build_run_section(findings),
    ]
    return Report(
        title=write_title(findings),
        about=describe_comparison(findings),
        answers=write_answers(findings, compare_memory),
        caveats=_list_caveats(findings, environments, compare_memory),
        hint=contribution.describe_unevaluated(findings.runs, question),
        sections=sections,
        records=_list_records(findings),
    )


def _list_groups(findings: Findings) -> list[Group]:
    """Return the groups of all settings, each once."""
    groups: dict[Group, None] = {}
    for setting in findings.settings:
        for row in setting.comparison.rows:
            groups[row.group] = None
    return list(groups)


def _list_records(findings: Findings) -> list[dict[str, object]]:
    """Return a flat mapping for each group and setting, the setting's values first."""
    flat = []
    for setting in findings.settings:
        values = dict(zip(findings.setting_keys, setting.values, strict=True))
        for record in records.to_records(setting.comparison):
            flat.append({**values, **record})
    return flat


# ------------------------------------------------------------------------------------------------------- caveats


def _list_caveats(findings: Findings, environments: Mapping[str, Mapping[str, int]], compare_memory: bool) -> list[str]:
    """Return the caveats of the answers."""
    caveats = [*findings.notices, *_list_setting_caveats(findings)]
    for description, curves in findings.curves:
        prefix = f"{description}: " if description else ""
        for notice in curves.notices:
            caveats.append(f"{prefix}{notice}")
    if findings.ranking is not None:
        caveats += findings.ranking.notices
    caveats += describe_differing(environments)
    if not compare_memory:
        caveats.append("memory is not compared: for runs trained on a CPU it is that of the whole process")
    return caveats


def _list_setting_caveats(findings: Findings) -> list[str]:
    """Return the caveats of the comparisons, each once, with the settings that it concerns unless it concerns all."""
    settings_by_notice: dict[str, list[str]] = {}
    for setting in findings.settings:
        for notice in setting.comparison.notices:
            settings_by_notice.setdefault(notice, []).append(findings.describe_setting(setting))
    caveats = []
    for notice, settings in settings_by_notice.items():
        concerns_all = len(settings) == len(findings.settings)
        caveats.append(notice if concerns_all else f"at {selection.list_names(settings, 'setting')}: {notice}")
    return caveats


# ------------------------------------------------------------------------------------------------------- sections


def _build_overview(findings: Findings, styles: Styles) -> Iterator[Section]:
    """Build the sections on all settings together: curves along an axis, and ranks."""
    for description, curves in findings.curves:
        suffix = f" ({description})" if description else ""
        title = f"Along {curves.across}{suffix}"
        yield Section(
            title, tables=comparison_tables.build_tables(curves), plots=[plots.plot_crossover(curves, styles)]
        )
    ranking = findings.ranking
    if ranking is not None:
        title = f"Over {', '.join(ranking.over)}"
        plot = plots.plot_critical_difference(ranking, styles)
        yield Section(title, tables=[comparison_tables.build_rank_table(ranking)], plots=[plot])


def _build_setting(findings: Findings, setting: Setting, styles: Styles, plotted: bool) -> Iterator[Section]:
    """Build the sections on one setting; they are folded where there are several settings."""
    description = findings.describe_setting(setting)
    suffix = f" at {description}" if description else ""
    means_and_costs = comparison_tables.build_tables(setting.comparison)
    if has_single_runs(setting):
        means_and_costs[0] = drop_statistics(means_and_costs[0], findings)
    if not plotted:
        text = f"Only the first {MAX_PLOTTED_SETTINGS} settings have plots."
        yield Section(f"Comparison{suffix}", text, means_and_costs, closed=True)
        return
    cells = selection.group_runs(setting.runs, findings.question.by)
    groups = {row.group: cells[row.group] for row in setting.comparison.rows}
    quality = _plot_quality(setting, groups, styles)
    yield Section(f"Comparison{suffix}", tables=means_and_costs, plots=quality)
    folded = len(findings.settings) > 1
    for section in _build_evidence(groups, findings.question, styles):
        section.title, section.closed, section.listed = f"{section.title}{suffix}", folded, not folded
        yield section


def _plot_quality(setting: Setting, groups: Mapping[Group, Sequence[RunRecord]], styles: Styles) -> list[Plot]:
    """Plot quality over each cost that is known of all groups."""
    quality = []
    for cost in ("flops", "seconds"):
        if all(row.cost[cost] is not None for row in setting.comparison.rows):
            label = COSTS[cost]
            quality.append(plots.plot_quality_over_cost(setting.comparison, groups, cost, label, styles))
    return quality


def _build_evidence(groups: Mapping[Group, list[RunRecord]], question: Question, styles: Styles) -> Iterator[Section]:
    """Build the sections on further results, each where some run has them."""
    unit = logs.find_budget_unit(list(chain.from_iterable(groups.values())))
    label = COSTS[unit]
    metric, evaluations = read_evaluations(groups, question.metric)
    sections = (
        _build_learning_curves(groups, question.metric, unit, label, styles),
        contribution.build_section(groups, evaluations, metric, question, styles),
        robustness.build_section(evaluations, metric, styles),
        subgroups.build_section(evaluations, metric, styles),
        classes.build_section(groups, question.metric, styles),
        gradients.build_section(groups, unit, label, styles),
        drift.build_section(evaluations, styles),
    )
    for section in sections:
        if section is not None:
            yield section


def _build_learning_curves(
    groups: Mapping[Group, list[RunRecord]], metric: str, unit: CostName, budget_label: str, styles: Styles
) -> Section | None:
    """Build the section on the metric on validation rows during training; None where no run logged it."""
    name = f"val/{metric.partition('/')[2]}"
    curves = drop_empty(map_groups(lambda runs: _read_curves(runs, name, unit), groups))
    if not curves:
        return None
    return Section("Learning curves", plots=[plots.plot_learning_curves(curves, name, budget_label, styles)])


def _read_curves(runs: Sequence[RunRecord], name: str, unit: CostName) -> list[np.ndarray]:
    curves = []
    for run in runs:
        curve = logs.extract_curve(logs.read_logged_evaluations(run, unit), name)
        if len(curve):
            curves.append(curve)
    return curves
