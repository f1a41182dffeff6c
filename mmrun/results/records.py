"""What comparisons found, in full, for programs: JSON values, and flat rows for CSV."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmrun.results.compare import Comparison, Row
from mmrun.results.costs import PAYS
from mmrun.results.curves import Curves
from mmrun.results.examples import Examples
from mmrun.results.ranks import Ranking
from mmrun.results.tables import Result


def as_json(result: Result) -> dict[str, Any]:
    """Return everything."""
    if isinstance(result, Examples):
        return asdict(result)
    return {**asdict(result), "lower_is_better": result.question.lower_is_better}


def records(result: Result) -> list[dict[str, Any]]:
    """Return the figures in full, a flat mapping a row."""
    if isinstance(result, Comparison):
        return [_record(row, result.question.by) for row in result.rows]
    if isinstance(result, Curves):
        pairs = zip(result.values, result.comparisons, strict=True)
        return [{result.across: value, **_record(row, c.question.by)} for value, c in pairs for row in c.rows]
    if isinstance(result, Ranking):
        return [_ranked(result, place) for place in range(len(result.groups))]
    return [
        {**asdict(task), "only_one": " ".join(task.only_one), "only_other": " ".join(task.only_other)}
        for task in result.tasks
    ]


def _record(row: Row, by: Sequence[str]) -> dict[str, Any]:
    flat = asdict(row)
    group, runs, cost, pays = (flat.pop(key) for key in ("group", "runs", "cost", "break_even"))
    better = flat.pop("improvement") or dict.fromkeys(("value", "low", "high"))
    flat["baseline"] = None if row.baseline is None else ",".join(row.baseline)
    flat["unmatched"] = " ".join(name.replace(" ", "_") for name in row.unmatched)
    flat |= {"improvement": better["value"], "improvement_low": better["low"], "improvement_high": better["high"]}
    flat |= cost | {f"break_even_{name}": None if pays is None else pays[name] for name in PAYS}
    return {**dict(zip(by, group, strict=True)), **flat, "runs": " ".join(runs)}


def _ranked(ranking: Ranking, place: int) -> dict[str, Any]:
    means = {",".join(block): means[place] for block, means in zip(ranking.blocks, ranking.means, strict=True)}
    group = dict(zip(ranking.question.by, ranking.groups[place], strict=True))
    tested = {"statistic": ranking.statistic, "p": ranking.p, "critical": ranking.critical}
    return {**group, "rank": ranking.ranks[place], **tested, **means}
