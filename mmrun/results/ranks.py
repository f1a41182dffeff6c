"""Groups of runs over several data sets: mean ranks, the Friedman test, and how far ranks must lie apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Question, metric_values
from mmrun.results.selection import Group, Metrics
from mmrun.results.statistics import LEVEL


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over data sets (Demsar, 2006); rank 1 is the best."""

    question: Question
    over: list[str]
    groups: list[Group]  # the best first
    ranks: list[float]  # mean, by group
    blocks: list[Group]  # data sets: one value for each key of `over`
    means: list[list[float]]  # by block, by group
    test: str  # friedman; wilcoxon where there are two groups
    statistic: float | None  # None: all ranks are tied
    p: float | None
    critical: float | None  # difference of mean ranks from which on two groups differ (Nemenyi, 1963)
    apart: list[tuple[Group, Group]]  # the pairs that differ, the better first
    notices: list[str]


def rank(runs: Sequence[Metrics], question: Question, over: Sequence[str], notices: Sequence[str] = ()) -> Ranking:
    """Rank the groups within each data set, or other block, by their mean, and test whether the ranks differ."""
    having, left_out = selection.measured(list(runs), question.metric)
    cells = selection.grouped(having, [*over, *question.by])
    split = len(over)
    groups = selection.ordered({cell[split:] for cell in cells}, {})
    every = selection.ordered({cell[:split] for cell in cells}, {})
    blocks = [block for block in every if all(block + group in cells for group in groups)]
    left_out += [
        f"{','.join(block)} is left out: not every group has runs on it" for block in every if block not in blocks
    ]
    if len(groups) < 2 or len(blocks) < 2:
        found = f"{len(groups)} groups complete on {len(blocks)} values of {','.join(over)}"
        raise ConfigError(f"--rank-over {','.join(over)}: {found}; a ranking needs two of each")
    means = np.array(
        [[np.mean(metric_values(cells[block + group], question.metric)) for group in groups] for block in blocks]
    )
    ranks = within(means, question.lower_is_better).mean(0)
    order = np.argsort(ranks, kind="stable")
    groups, ranks, means = [groups[place] for place in order], ranks[order], means[:, order]
    test, statistic, p = tested(means)
    critical = critical_difference(len(groups), len(blocks)) if test == "friedman" else None
    return Ranking(
        question=question,
        over=list(over),
        groups=groups,
        ranks=ranks.tolist(),
        blocks=blocks,
        means=means.tolist(),
        test=test,
        statistic=statistic,
        p=p,
        critical=critical,
        apart=_apart(groups, ranks.tolist(), critical, p),
        notices=[*notices, *left_out, *_few(len(blocks), len(groups))],
    )


def within(means: np.ndarray, lower_is_better: bool) -> np.ndarray:  # [N, k]
    """Rank each row, the best 1, ties sharing the mean of their ranks."""
    ranked: np.ndarray = stats.rankdata(means if lower_is_better else -means, axis=1)
    return ranked


def critical_difference(num_groups: int, num_blocks: int, level: float = 1 - LEVEL) -> float:
    """Return Nemenyi's critical difference of mean ranks: q of the studentised range over the square root of 2."""
    q = stats.studentized_range.isf(level, num_groups, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(num_groups * (num_groups + 1) / (6 * num_blocks)))


def tested(means: np.ndarray) -> tuple[str, float | None, float | None]:
    """Test by Friedman (1937), corrected for ties; two groups by Wilcoxon's signed ranks, as Demsar advises."""
    ranked = within(means, False)
    if (ranked == ranked[:, :1]).all():
        return ("friedman" if means.shape[1] > 2 else "wilcoxon"), None, None
    if means.shape[1] == 2:
        found = stats.wilcoxon((means[:, 0] - means[:, 1]).round(12))
        return "wilcoxon", float(found.statistic), float(found.pvalue)
    found = stats.friedmanchisquare(*ranked.T)
    return "friedman", float(found.statistic), float(found.pvalue)


def _apart(
    groups: list[Group], ranks: list[float], critical: float | None, p: float | None
) -> list[tuple[Group, Group]]:
    """Return the pairs that differ: only where the test over all groups finds something."""
    if p is None or p >= 1 - LEVEL:
        return []
    pairs = combinations(range(len(groups)), 2)
    return [(groups[i], groups[j]) for i, j in pairs if critical is None or ranks[j] - ranks[i] >= critical]


def _few(blocks: int, groups: int) -> list[str]:
    if blocks >= 10 or groups == 2:
        return [] if blocks >= 6 else [f"{blocks} data sets: p of the signed ranks cannot be below {2 / 2**blocks:.4g}"]
    return [f"Friedman's chi-square is an approximation that wants 10 data sets or so, and there are {blocks}"]
