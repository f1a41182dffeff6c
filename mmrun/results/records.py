"""Results in full, for programs: JSON values, and flat records for CSV."""

from collections.abc import Sequence
from dataclasses import asdict

from mmrun.results.compare import Comparison, Row
from mmrun.results.comparison_tables import Result
from mmrun.results.costs import BREAK_EVEN_COSTS
from mmrun.results.curves import Curves
from mmrun.results.examples import Examples, TaskExamples
from mmrun.results.ranks import Ranking

Record = dict[str, object]  # a row of CSV: strings, numbers and None


def to_json(result: Result) -> dict[str, object]:
    """Convert a result to JSON values, with everything in it.

    Returns:
        The attributes of the result by name, and the direction of the metric.
    """
    if isinstance(result, Examples):
        return asdict(result)
    return {**asdict(result), "lower_is_better": result.question.lower_is_better}


def to_records(result: Result) -> list[Record]:
    """Convert a result to flat records.

    Returns:
        A record for each group, for each group at each value of a curve, or for each task of examples.
    """
    if isinstance(result, Comparison):
        return _comparison_records(result)
    if isinstance(result, Curves):
        records = []
        for value, comparison in zip(result.values, result.comparisons, strict=True):
            records += [{result.across: value, **record} for record in _comparison_records(comparison)]
        return records
    if isinstance(result, Ranking):
        return [_rank_record(result, place) for place in range(len(result.groups))]
    return [_task_record(task) for task in result.tasks]


def _comparison_records(comparison: Comparison) -> list[Record]:
    """Return a record for each group of a comparison."""
    return [_row_record(row, comparison.question.by) for row in comparison.rows]


def _row_record(row: Row, by: Sequence[str]) -> Record:
    """Return the values of a row, with a column for each key, cost and end of an interval."""
    record: Record = asdict(row)
    for nested in ("group", "runs", "cost", "break_even", "improvement"):
        del record[nested]
    record["baseline"] = None if row.baseline is None else ",".join(row.baseline)
    record["unmatched"] = " ".join(name.replace(" ", "_") for name in row.unmatched)
    record["improvement"] = None if row.improvement is None else row.improvement.value
    record["improvement_low"] = None if row.improvement is None else row.improvement.low
    record["improvement_high"] = None if row.improvement is None else row.improvement.high
    record.update(row.cost)
    for name in BREAK_EVEN_COSTS:
        record[f"break_even_{name}"] = None if row.break_even is None else row.break_even[name]
    return {**dict(zip(by, row.group, strict=True)), **record, "runs": " ".join(row.runs)}


def _rank_record(ranking: Ranking, place: int) -> Record:
    """Return the rank of a group, the test over all groups, and the group's mean in each block."""
    record: Record = dict(zip(ranking.question.by, ranking.groups[place], strict=True))
    record["rank"] = ranking.ranks[place]
    record |= {"statistic": ranking.statistic, "p": ranking.p, "critical": ranking.critical}
    for block, means in zip(ranking.blocks, ranking.means, strict=True):
        record[",".join(block)] = means[place]
    return record


def _task_record(task: TaskExamples) -> Record:
    """Return the values of a task, with ids separated by spaces."""
    return {**asdict(task), "better_a": " ".join(task.better_a), "better_b": " ".join(task.better_b)}
