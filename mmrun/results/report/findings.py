"""What a report is about: which runs are compared with which, and what the comparisons found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Comparison, Question, compare
from mmrun.results.curves import Curves, compare_across
from mmrun.results.index import find_primary_metric
from mmrun.results.ranks import Ranking, rank
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Group, find_differing_keys, format_value, group_runs, lookup, parse_number

BASELINES = ("holistic", "scratch")  # the first that is there is compared with, unless --against says otherwise


@dataclass(frozen=True)
class Setting:
    """The runs that are alike in all but their group and seed: they are compared with each other."""

    values: Group  # one for each key of `Findings.apart`
    runs: list[RunRecord]
    compared: Comparison


@dataclass(frozen=True)
class Findings:
    """All that a report says, before it is put into words and pictures."""

    question: Question
    apart: tuple[str, ...]  # keys in which the runs of one group and seed differ
    settings: list[Setting]
    curves: list[tuple[str, Curves]]  # where the other keys of `apart` are so: "dataset=digits", or ""
    ranking: Ranking | None
    notices: list[str]

    @property
    def runs(self) -> list[RunRecord]:
        """Return the runs of all settings."""
        return [run for setting in self.settings for run in setting.runs]

    def where(self, setting: Setting) -> str:
        """Describe a setting: "dataset.labelled=0.1"; empty where there is only one."""
        return ", ".join(f"{key}={value}" for key, value in zip(self.apart, setting.values, strict=True))


def find(folders: Sequence[Path], question: Question, where: Sequence[str] = (), apart: Sequence[str] = ()) -> Findings:
    """Compare all that can be compared below some folders, and choose what the question leaves open.

    The metric: the first run's first. The baseline: a known one. The pairs: by seed. What holds runs apart: the keys in
    which the runs of one group and seed differ.
    """
    runs, notices = selection.read_finished(folders)
    runs = selection.filter_runs(runs, where)
    if not question.metric:
        question = replace(question, metric=_headline(runs))
    runs, left_out = selection.select_with_metric(runs, question.metric)
    apart = tuple(apart) or _apart(runs, [*question.by, *(question.paired or ["seed"])])
    cells = group_runs(runs, apart)
    question = replace(question, against=question.against or _baseline(group_runs(runs, question.by)))
    if question.against is not None:
        selection.match_baselines(
            group_runs(runs, question.by), selection.parse_values(question.against)
        )  # or it is said to be unknown
    question = replace(question, paired=question.paired or _paired(cells, question))
    alone = replace(question, against=None, paired=())
    settings = []
    for values in selection.order_groups(cells, {}):
        asked = question if _has_baseline(cells[values], question) else alone
        settings.append(Setting(values, cells[values], compare(cells[values], asked)))
    return Findings(
        question=question,
        apart=apart,
        settings=settings,
        curves=_curves(runs, question, apart),
        ranking=_ranking(runs, question, apart, settings),
        notices=[*notices, *left_out],
    )


def _headline(runs: Sequence[RunRecord]) -> str:
    """Return the figure that the first run with figures puts first."""
    names = [name for run in runs if (name := find_primary_metric(run)[0]) is not None]
    if not names:
        raise ConfigError("no run has a figure on the test rows; name one with --metric")
    return f"test/{names[0]}"


def _apart(runs: Sequence[RunRecord], keys: Sequence[str]) -> tuple[str, ...]:
    """Find the keys, one after the other, in which runs differ that are alike in all keys so far."""
    seen: dict[Group, RunRecord] = {}
    for run in runs:
        other = seen.setdefault(tuple(format_value(lookup(run, key)) for key in keys), run)
        if other is run:
            continue
        unlike = find_differing_keys(other, run)
        if not unlike:
            raise ConfigError(f"{other['run']} and {run['run']} are the same run twice; take one folder away")
        return (unlike[0], *_apart(runs, [*keys, unlike[0]]))
    return ()


def _baseline(groups: Mapping[Group, object]) -> str | None:
    """Choose what to compare with: a known baseline, or the first group; nothing where there is one group."""
    if len(groups) < 2:
        return None
    values = {value for group in groups for value in group}
    return next((name for name in BASELINES if name in values), ",".join(selection.order_groups(groups, {})[0]))


def _has_baseline(runs: list[RunRecord], question: Question) -> bool:
    """Return whether some runs have a baseline to compare with; a sweep may have holes."""
    groups = group_runs(runs, question.by)
    against = None if question.against is None else selection.parse_values(question.against)
    return against is None or against in groups or any((value,) == against for group in groups for value in group)


def _paired(cells: Mapping[Group, list[RunRecord]], question: Question) -> tuple[str, ...]:
    """Pair by seed where every group shares one with its baseline; otherwise the groups count as independent."""
    if question.against is None:
        return ()
    for runs in cells.values():
        if not _has_baseline(runs, question):
            continue
        groups = group_runs(runs, question.by)
        seeds = {group: {run["seed"] for run in of_group} for group, of_group in groups.items()}
        pairs = selection.match_baselines(groups, selection.parse_values(question.against))
        if any(not seeds[group] & seeds[baseline] for group, baseline in pairs.items()):
            return ()
    return ("seed",)


def _curves(runs: list[RunRecord], question: Question, apart: Sequence[str]) -> list[tuple[str, Curves]]:
    """Follow the groups along each key whose values are numbers, the other keys held apart."""
    found = []
    for key in apart:
        if any(parse_number(format_value(lookup(run, key))) is None for run in runs):
            continue
        others = [other for other in apart if other != key]
        cells = group_runs(runs, others)
        for values in selection.order_groups(cells, {}):
            points = [point for point in group_runs(cells[values], [key]).values() if _has_baseline(point, question)]
            if len(points) > 1:
                said = ", ".join(f"{other}={value}" for other, value in zip(others, values, strict=True))
                found.append((said, compare_across([run for point in points for run in point], question, key)))
    return found


def _ranking(
    runs: list[RunRecord], question: Question, apart: Sequence[str], settings: Sequence[Setting]
) -> Ranking | None:
    """Rank the groups over the settings where those are several, complete, and have no order of their own."""
    if not apart or any(parse_number(value) is not None for setting in settings for value in setting.values):
        return None
    groups = {row.group for setting in settings for row in setting.compared.rows}
    complete = [setting for setting in settings if {row.group for row in setting.compared.rows} == groups]
    return rank(runs, question, apart) if len(groups) > 1 and len(complete) > 1 else None
