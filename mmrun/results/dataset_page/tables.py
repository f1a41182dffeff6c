"""The tables about a data set, on its page and in the terminal."""

from collections.abc import Mapping

from mmrun.data.checks.statistics import Statistics, TargetStatistics
from mmrun.data.table import SPLITS
from mmrun.results.table import Table

KIND_NAMES = {
    "audio": "sound",
    "points": "point cloud",
    "tabular": "row of cells",
}  # a value of the kinds that do not name it


def tabulate_rows(statistics: Statistics) -> Table:
    """Tabulate the rows of each split, and those without a target or a modality."""
    rows = [["all rows", "", *(f"{statistics.rows[split]:,}" for split in SPLITS)]]
    for name, target in statistics.targets.items():
        rows.append([name, "without this target", *_format_missing(target.hidden, statistics.rows)])
    for name, modality in statistics.modalities.items():
        rows.append(
            [
                name,
                f"without this {KIND_NAMES.get(modality.kind, modality.kind)}",
                *_format_missing(modality.missing, statistics.rows),
            ]
        )
    return Table("rows, and those that lack a target or a modality", ["rows", "", *SPLITS], rows, 2)


def _format_missing(missing: Mapping[str, int], rows: Mapping[str, int]) -> list[str]:
    cells = []
    for split in SPLITS:
        share = missing[split] / rows[split] if rows[split] else 0.0
        cells.append(f"{missing[split]:,} ({share:.1%})" if missing[split] else "0")
    return cells


def tabulate_classes(name: str, target: TargetStatistics) -> Table:
    """Tabulate the classes or labels of a target by split, the most frequent first.

    Args:
        name: of the target.
        target: with frequencies.
    """
    assert target.frequencies is not None
    rows = []
    totals = {split: sum(counts[split] for counts in target.frequencies.counts.values()) for split in SPLITS}
    for value, counts in target.frequencies.counts.items():
        rows.append([value, *_format_shares(counts, totals)])
    more = target.frequencies.num_different - len(rows)
    caption = f"{name} ({target.task})" + (f", and {more} more" if more > 0 else "")
    return Table(caption, ["label" if target.task == "multilabel" else "class", *SPLITS], rows)


def _format_shares(counts: Mapping[str, int], totals: Mapping[str, int]) -> list[str]:
    cells = []
    for split in SPLITS:
        share = counts[split] / totals[split] if totals[split] else 0.0
        cells.append(f"{counts[split]:,} ({share:.1%})")
    return cells


def tabulate_numbers(statistics: Statistics) -> Table | None:
    """Tabulate what was measured: smallest, median and largest number, and how many are missing.

    Returns:
        The table; None where there are no numbers.
    """
    distributions = {}
    for name, target in statistics.targets.items():
        if target.distribution is not None:
            distributions[(name, "")] = target.distribution
    for name, modality in statistics.modalities.items():
        for measure, distribution in modality.distributions.items():
            distributions[(name, measure)] = distribution
    rows = []
    for (name, measure), distribution in distributions.items():
        numbers = [f"{number:.5g}" for number in (distribution.least, distribution.median, distribution.most)]
        rows.append([name, measure, *numbers, f"{distribution.missing:,}"])
    header = ["of", "numbers", "least", "median", "most", "missing"]
    return Table("", header, rows, 2) if rows else None
