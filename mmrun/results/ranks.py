"""Ranks groups of runs over several data sets: mean ranks, the Friedman test, and the critical difference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from scipy import stats

from mmrun.errors import ConfigError
from mmrun.results import comparability, selection
from mmrun.results.compare import Question, get_metric_values
from mmrun.results.run_values import Group
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Groups
from mmrun.results.statistics import LEVEL
from mmrun.results.variation import Variation


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over data sets (Demsar, 2006); rank 1 is the best.

    Attributes:
        question: what was compared, and how.
        over: keys whose values are the blocks.
        groups: the best first.
        ranks: mean rank, by group.
        blocks: data sets, or other values of `over`, one for each key.
        means: of the metric, by block, then by group.
        test: friedman, or wilcoxon for two groups.
        statistic: of the test; None where all ranks are tied.
        p: p-value of the test; None where all ranks are tied.
        critical: difference of mean ranks from which on two groups differ (Nemenyi, 1963); None for two groups.
        apart: the pairs that differ, the better group first; none where groups are not on equal terms.
        unmatched: names of what makes the groups unequal within a block.
        notices: what to know before trusting the ranks.
    """

    question: Question
    over: list[str]
    groups: list[Group]
    ranks: list[float]
    blocks: list[Group]
    means: list[list[float]]
    test: str
    statistic: float | None
    p: float | None
    critical: float | None
    apart: list[tuple[Group, Group]]
    unmatched: list[str]
    notices: list[str]


def rank(runs: Sequence[RunRecord], question: Question, over: Sequence[str], notices: Sequence[str] = ()) -> Ranking:
    """Rank the groups within each data set by their mean, and test whether the ranks differ.

    Args:
        runs: those without the metric are left out.
        question: metric and groups.
        over: keys whose values are the data sets, or other blocks.
        notices: about these runs, to pass on.

    Raises:
        ConfigError: there are fewer than two groups, or fewer than two blocks in which every group has runs.
    """
    selected, messages = selection.select_with_metric(list(runs), question.metric)
    cells = selection.group_runs(selected, [*over, *question.by])
    groups = selection.order_groups({cell[len(over) :] for cell in cells}, {})
    blocks, incomplete = _split_blocks(selection.order_groups({cell[: len(over)] for cell in cells}, {}), groups, cells)
    messages += [f"{','.join(block)} is left out: not every group has runs on it" for block in incomplete]
    if len(groups) < 2 or len(blocks) < 2:
        raise ConfigError(
            f"--rank-over {','.join(over)}: {len(groups)} groups complete on {len(blocks)} values of {','.join(over)}; "
            "a ranking needs two of each"
        )
    unmatched, unequal = _check_terms(cells, blocks, groups, question, over)
    means = _mean_by_cell(cells, blocks, groups, question.metric)
    ranks = rank_within(means, question.lower_is_better).mean(0)
    order = np.argsort(ranks, kind="stable")
    groups, ranks, means = [groups[place] for place in order], ranks[order], means[:, order]
    test, statistic, p = compute_rank_test(means)
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
        apart=[] if unmatched else _find_differing_pairs(groups, ranks.tolist(), critical, p),
        unmatched=unmatched,
        notices=[*notices, *messages, *unequal, *_check_block_count(len(blocks), len(groups))],
    )


def _check_terms(
    cells: Groups, blocks: Sequence[Group], groups: Sequence[Group], question: Question, over: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Check whether the groups are on equal terms within each block.

    Returns:
        Names of what differs, and notices.
    """
    paired = [*over, *question.paired]
    all_runs = list(chain.from_iterable(_collect(cells, blocks, group) for group in groups))
    variation = Variation(all_runs, question.by, paired)
    names: dict[str, None] = {}
    notices: list[str] = []
    for block in blocks:
        runs = list(chain.from_iterable(cells[block + group] for group in groups))
        terms = comparability.find_unequal_terms(runs, question.by, paired, question.match, variation)
        spending = [] if "budget" in terms else _check_spending(cells, block, groups, question, over)
        names |= dict.fromkeys([*terms, *(["spending"] if spending else [])])
        notices += [f"{','.join(block)}: {notice}" for notice in (*comparability.shorten_notices(terms), *spending)]
    notices += comparability.check_seeds({group: _collect(cells, blocks, group) for group in groups}, ["seed"])
    return list(names), notices


def _check_spending(
    cells: Groups, block: Group, groups: Sequence[Group], question: Question, over: Sequence[str]
) -> list[str]:
    """Return notices about groups that spent more or less than the first one within a block."""
    if question.match == "budget" and any(key.startswith("budget") for key in (*question.by, *over)):
        return []
    notices = []
    for group in groups[1:]:
        runs, base_runs = cells[block + group], cells[block + groups[0]]
        notice = comparability.check_spending(group, runs, groups[0], base_runs, question.match)
        if notice is not None:
            notices.append(notice)
    return notices


def _collect(cells: Groups, blocks: Sequence[Group], group: Group) -> list[RunRecord]:
    """Return the runs of a group in all blocks."""
    runs: list[RunRecord] = []
    for block in blocks:
        runs += cells[block + group]
    return runs


def _split_blocks(blocks: Iterable[Group], groups: Sequence[Group], cells: Groups) -> tuple[list[Group], list[Group]]:
    """Return the blocks in which every group has runs, and the others."""
    complete: list[Group] = []
    incomplete: list[Group] = []
    for block in blocks:
        has_all = all(block + group in cells for group in groups)
        (complete if has_all else incomplete).append(block)
    return complete, incomplete


def _mean_by_cell(cells: Groups, blocks: Sequence[Group], groups: Sequence[Group], metric: str) -> np.ndarray:
    """Return the mean of a metric in each block, by group [N, k]."""
    means = np.empty((len(blocks), len(groups)))
    for row, block in enumerate(blocks):
        for column, group in enumerate(groups):
            means[row, column] = np.mean(get_metric_values(cells[block + group], metric))
    return means


def rank_within(means: np.ndarray, lower_is_better: bool) -> np.ndarray:
    """Rank the groups within each block.

    Args:
        means: by block and group [N, k].
        lower_is_better: direction of the metric.

    Returns:
        Ranks [N, k]; the best is 1, and ties share the mean of their ranks.
    """
    ranks: np.ndarray = stats.rankdata(means if lower_is_better else -means, axis=1)
    return ranks


def critical_difference(num_groups: int, num_blocks: int, level: float = 1 - LEVEL) -> float:
    """Return the critical difference of mean ranks (Nemenyi, 1963).

    Args:
        num_groups: k.
        num_blocks: N.
        level: of significance.
    """
    q = stats.studentized_range.isf(level, num_groups, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(num_groups * (num_groups + 1) / (6 * num_blocks)))


def compute_rank_test(means: np.ndarray) -> tuple[str, float | None, float | None]:
    """Test whether the groups differ.

    Args:
        means: by block and group [N, k].

    Returns:
        Name, statistic and p-value of the Friedman test (1937), corrected for ties; of Wilcoxon's signed-rank test for
        two groups, as Demsar (2006) advises. Statistic and p-value are None where all ranks are tied.
    """
    ranks = rank_within(means, lower_is_better=False)
    if (ranks == ranks[:, :1]).all():
        return ("friedman" if means.shape[1] > 2 else "wilcoxon"), None, None
    if means.shape[1] == 2:
        result = stats.wilcoxon((means[:, 0] - means[:, 1]).round(12))
        return "wilcoxon", float(result.statistic), float(result.pvalue)
    result = stats.friedmanchisquare(*ranks.T)
    return "friedman", float(result.statistic), float(result.pvalue)


def _find_differing_pairs(
    groups: list[Group], ranks: list[float], critical: float | None, p: float | None
) -> list[tuple[Group, Group]]:
    """Return the pairs of groups that differ; none where the test over all groups is not significant."""
    if p is None or p >= 1 - LEVEL:
        return []
    pairs = combinations(range(len(groups)), 2)
    return [(groups[i], groups[j]) for i, j in pairs if critical is None or ranks[j] - ranks[i] >= critical]


def _check_block_count(blocks: int, groups: int) -> list[str]:
    """Return a notice where the test has too few blocks."""
    if blocks >= 10 or groups == 2:
        return [] if blocks >= 6 else [f"{blocks} data sets: p of the signed ranks cannot be below {2 / 2**blocks:.4g}"]
    return [f"the Friedman test approximates its p-value, which needs about 10 data sets; there are {blocks}"]
