"""What a report is about: which runs are compared with which, and what the comparisons found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmrun.errors import ConfigError, MmrunError
from mmrun.results import selection
from mmrun.results.comparability import describe_seeded_splits
from mmrun.results.compare import Comparison, Question, check_family, choose_baseline, compare, correct_together
from mmrun.results.curves import Curves, compare_across
from mmrun.results.evaluations import check_evaluation
from mmrun.results.folder import RunFolder
from mmrun.results.index import explain_damage, find_primary_metric
from mmrun.results.predictions import check_predictions
from mmrun.results.ranks import Ranking, rank
from mmrun.results.report.logs import find_budget_unit, read_logged_evaluations
from mmrun.results.run_values import Group, find_differing_keys, format_value, lookup, parse_number, parse_values
from mmrun.results.schema import RunRecord
from mmrun.results.selection import group_runs

BASELINES = ("holistic", "scratch")  # without --against, the first of these that has runs is the baseline


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their group and seed alone, and so are compared with each other.

    Args:
        values: one for each key of `Findings.setting_keys`.
        runs: of the setting.
        comparison: of its groups.
    """

    values: Group
    runs: list[RunRecord]
    comparison: Comparison


@dataclass(frozen=True)
class Findings:
    """The results of all comparisons of a report, before they are put into words and plots.

    Args:
        question: with everything chosen that the user left open.
        baseline_is_given: whether the user named the baseline.
        setting_keys: the keys that separate settings: in them runs of one group and seed differ.
        settings: in order of their values.
        curves: a description of the values of the other setting keys ("dataset=digits"; "" without any), and the curves
            along one key.
        ranking: of the groups over the settings; None where it makes no sense.
        notices: what was left out.
    """

    question: Question
    baseline_is_given: bool
    setting_keys: tuple[str, ...]
    settings: list[Setting]
    curves: list[tuple[str, Curves]]
    ranking: Ranking | None
    notices: list[str]

    @property
    def runs(self) -> list[RunRecord]:
        """The runs of all settings."""
        runs: list[RunRecord] = []
        for setting in self.settings:
            runs += setting.runs
        return runs

    def describe_setting(self, setting: Setting) -> str:
        """Describe a setting by its values.

        Args:
            setting: of these findings.

        Returns:
            "dataset.labelled=0.1"; "" where there is a single setting.
        """
        return _describe_values(self.setting_keys, setting.values)


def compute_findings(
    folders: Sequence[Path], question: Question, conditions: Sequence[str] = (), setting_keys: Sequence[str] = ()
) -> Findings:
    """Compare all runs below some folders that can be compared, and choose what the question leaves open.

    Args:
        folders: in which runs are looked for.
        question: an empty metric means the first run's primary one; no baseline: one of BASELINES, or the first group;
            no pairs: by seed, where every group shares one with its baseline.
        conditions: "key=value", which runs must meet; none: all runs.
        setting_keys: keys that separate settings; none: those in which runs of one group and seed differ.

    Returns:
        The comparisons, curves and ranking.

    Raises:
        ConfigError: no run is finished or has the metric, the baseline is unknown, or a run occurs twice.
    """
    runs, notices = _leave_out_damaged(*selection.read_finished(folders))
    runs, without_compressed = selection.leave_out_compressed(selection.filter_runs(runs, conditions), question.by)
    notices += [*without_compressed, *describe_seeded_splits(runs)]
    baseline_is_given = question.against is not None
    question = replace(question, metric=question.metric or _choose_metric(runs))
    runs, left_out = selection.select_with_metric(runs, question.metric)
    setting_keys = tuple(setting_keys) or _find_setting_keys(runs, [*question.by, *(question.paired or ["seed"])])
    cells = group_runs(runs, setting_keys)
    question, chosen = _complete_question(question, runs, cells)
    settings = _compare_settings(cells, question)
    return Findings(
        question=question,
        baseline_is_given=baseline_is_given,
        setting_keys=setting_keys,
        settings=settings,
        curves=_compute_curves(runs, question, setting_keys),
        ranking=_compute_ranking(runs, question, setting_keys, settings),
        notices=[*notices, *chosen, *check_family([setting.comparison for setting in settings]), *left_out],
    )


def _compare_settings(cells: Mapping[Group, list[RunRecord]], question: Question) -> list[Setting]:
    """Compare the groups within each setting, without a baseline where a setting has no run of it."""
    without_baseline = replace(question, against=None, paired=())
    ordered = selection.order_groups(cells, {})
    comparisons = []
    for values in ordered:
        answerable = question if _has_baseline(cells[values], question) else without_baseline
        comparisons.append(compare(cells[values], answerable))
    settings = []
    for values, comparison in zip(ordered, correct_together(comparisons, question.correct), strict=True):
        settings.append(Setting(values, cells[values], comparison))
    return settings


def _leave_out_damaged(runs: list[RunRecord], notices: list[str]) -> tuple[list[RunRecord], list[str]]:
    """Return the runs whose further files can be read: log, evaluation, predictions, note; any other adds a notice."""
    intact, damaged = [], []
    for run in runs:
        folder = RunFolder(run["folder"])
        try:
            read_logged_evaluations(run, find_budget_unit([run]))
            check_evaluation(run)
            check_predictions(folder, run)
            folder.read_note(run["config"])
            intact.append(run)
        except (MmrunError, OSError) as error:
            damaged.append(f"{folder.name}: {explain_damage(folder, error)}")
    notices = [*notices, *selection.describe_damaged(damaged)]
    if not intact:
        raise ConfigError("; ".join(["no run is whole", *notices]))
    return intact, notices


def _describe_values(keys: Iterable[str], values: Iterable[str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))


# ------------------------------------------------------------------------------------- what the question leaves open


def _complete_question(
    question: Question, runs: list[RunRecord], cells: Mapping[Group, list[RunRecord]]
) -> tuple[Question, list[str]]:
    """Choose the baseline and the pairing; return the question, and a notice if a baseline was chosen for pairs."""
    groups = group_runs(runs, question.by)
    question, notices = choose_baseline(groups, replace(question, against=question.against or _choose_baseline(groups)))
    if question.against is not None:
        selection.match_baselines(groups, parse_values(question.against))  # fails if it is unknown
    return replace(question, paired=question.paired or _choose_pairing(cells, question)), notices


def _choose_metric(runs: Iterable[RunRecord]) -> str:
    """Return the primary metric of the first run that has one on the test rows."""
    for run in runs:
        name = find_primary_metric(run)[0]
        if name is not None:
            return f"test/{name}"
    raise ConfigError("no run has a metric on the test rows; name one with --metric")


def _find_setting_keys(runs: Sequence[RunRecord], keys: Sequence[str]) -> tuple[str, ...]:
    """Find the keys, one after the other, in which runs differ that have the same values of all keys so far."""
    first_runs: dict[Group, RunRecord] = {}
    for run in runs:
        first_run = first_runs.setdefault(tuple(format_value(lookup(run, key)) for key in keys), run)
        if first_run is run:
            continue
        differing = find_differing_keys(first_run, run)
        if not differing:
            raise ConfigError(f"{first_run['run']} and {run['run']} are copies of the same run; remove one of them")
        return (differing[0], *_find_setting_keys(runs, [*keys, differing[0]]))
    return ()


def _choose_baseline(groups: Mapping[Group, object]) -> str | None:
    """Return the first of BASELINES that is a value of some group, else the first group; None for a single group."""
    if len(groups) < 2:
        return None
    values = set().union(*groups)
    for name in BASELINES:
        if name in values:
            return name
    return ",".join(selection.order_groups(groups, {})[0])


def _has_baseline(runs: list[RunRecord], question: Question) -> bool:
    """Return whether runs of the baseline are among some runs; a sweep may be incomplete."""
    if question.against is None:
        return True
    against = parse_values(question.against)
    joined = ",".join(against)
    for group in group_runs(runs, question.by):
        if ",".join(group) == joined or (len(against) == 1 and against[0] in group):
            return True
    return False


def _choose_pairing(cells: Mapping[Group, list[RunRecord]], question: Question) -> tuple[str, ...]:
    """Pair by seed where every group shares one with its baseline; otherwise treat the groups as independent."""
    if question.against is None:
        return ()
    for runs in cells.values():
        if _has_baseline(runs, question) and not _share_seeds(runs, question.by, parse_values(question.against)):
            return ()
    return ("seed",)


def _share_seeds(runs: list[RunRecord], by: Sequence[str], against: Group) -> bool:
    """Return whether every group has a seed in common with its baseline."""
    groups = group_runs(runs, by)
    for group, baseline in selection.match_baselines(groups, against).items():
        if not _collect_seeds(groups[group]) & _collect_seeds(groups[baseline]):
            return False
    return True


def _collect_seeds(runs: Iterable[RunRecord]) -> set[int]:
    return {run["seed"] for run in runs}


# ---------------------------------------------------------------------------------------------- curves and ranking


def _compute_curves(runs: list[RunRecord], question: Question, keys: Sequence[str]) -> list[tuple[str, Curves]]:
    """Compute curves along each key whose values are numbers, for each combination of the values of the other keys."""
    curves = []
    for key in keys:
        if any(parse_number(format_value(lookup(run, key))) is None for run in runs):
            continue
        other_keys = [other_key for other_key in keys if other_key != key]
        cells = group_runs(runs, other_keys)
        for values in selection.order_groups(cells, {}):
            num_points, comparable_runs = 0, []
            for runs_at_point in group_runs(cells[values], [key]).values():
                if _has_baseline(runs_at_point, question):
                    num_points += 1
                    comparable_runs += runs_at_point
            if num_points > 1:
                curves.append((_describe_values(other_keys, values), compare_across(comparable_runs, question, key)))
    return curves


def _compute_ranking(
    runs: list[RunRecord], question: Question, keys: Sequence[str], settings: Sequence[Setting]
) -> Ranking | None:
    """Rank the groups over the settings where several settings have all groups, and no key is an axis of numbers."""
    if not keys or any(map(_has_number, settings)):
        return None
    groups_by_setting = list(map(_collect_groups, settings))
    groups = set().union(*groups_by_setting)
    num_complete = groups_by_setting.count(groups)
    return rank(runs, question, keys) if len(groups) > 1 and num_complete > 1 else None


def _has_number(setting: Setting) -> bool:
    return any(parse_number(value) is not None for value in setting.values)


def _collect_groups(setting: Setting) -> set[Group]:
    return {row.group for row in setting.comparison.rows}
