"""`mmrun compare`: groups of runs side by side, with statistics and cost."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.table import count, duration, number, print_table, size
from mmrun.runs.index import OUTPUTS

if TYPE_CHECKING:
    from mmrun.runs.compare import Comparison, Row

HELP = "Compare groups of finished runs: mean and 95 % interval, difference to a baseline and its p, and cost."

LATEX_ESCAPES = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"<": "$<$"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folders", nargs="*", type=Path, default=[OUTPUTS], help="where to look (default: outputs)")
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default="strategy",
        help="what makes a group: a choice (strategy, fusion, dataset, encoder.image) or any key of the config "
        "(dataset.labelled, budget.epochs)",
    )
    parser.add_argument("--metric", metavar="SPLIT/NAME", default="test/accuracy", help="default: test/accuracy")
    parser.add_argument(
        "--against",
        metavar="VALUE",
        help="the baseline: a value of a --by key; with several keys, the groups compared are alike in the others",
    )
    parser.add_argument(
        "--paired",
        metavar="KEY[,KEY]",
        nargs="?",
        const="seed",
        help="compare runs one by one with the baseline's of the same seed, or other keys (paired t-test); "
        "without it the groups count as independent (Welch's t-test)",
    )
    parser.add_argument("--where", metavar="KEY=VALUE", nargs="+", default=[], help="only runs that have these values")
    parser.add_argument(
        "--correct", choices=["holm", "none"], default="holm", help="for testing several groups (default: holm)"
    )
    parser.add_argument("--format", choices=["table", "md", "csv", "json", "latex"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the comparison, and on stderr what to know before believing it."""
    from mmrun.runs.compare import compare  # late: SciPy takes half a second, and `-h` needs none

    compared = compare(
        args.folders,
        [key.replace("/", ".") for key in args.by.split(",")],
        args.metric,
        args.against,
        [] if args.paired is None else args.paired.replace("/", ".").split(","),
        args.where,
        args.correct,
    )
    PRINTERS[args.format](compared)
    for notice in compared.notices:
        print(f"note: {notice}", file=sys.stderr)
    return 0


# ------------------------------------------------------------------------------------------------ the table, in words


def _title(compared: "Comparison") -> str:
    title = f"{compared.metric}, {'lower' if compared.lower_is_better else 'higher'} is better"
    if compared.against is None:
        return title
    paired = f"paired by {', '.join(compared.paired)}" if compared.paired else "not paired"
    correct = ", p corrected by Holm" if compared.correct == "holm" else ""
    best = "; * best, p < 0.05" if any(row.best for row in compared.rows) else ""
    return f"{title}; difference to {compared.against}, {paired}{correct}{best}"


def _header(compared: "Comparison") -> list[str]:
    pairs = ["pairs"] if compared.paired else []
    difference = [] if compared.against is None else [*pairs, "difference", "95 % interval", "p"]
    costs = ["samples", "time", "FLOPs", "memory", "learned"]
    return [*compared.by, "n", "mean", "sd", "95 % interval", *difference, *costs]


def _cells(compared: "Comparison", row: "Row") -> list[str]:
    cells = [*row.group, str(row.n), number(row.mean), number(row.sd), _interval(row.low, row.high)]
    if compared.against is not None:
        p = row.p if compared.correct == "none" else row.p_adjusted
        if compared.paired:
            cells.append("-" if row.pairs is None else str(row.pairs))
        sign = "+" if row.difference is not None and row.difference > 0 else ""
        cells.append(f"{sign}{number(row.difference)}{' *' if row.best else ''}")
        cells += [_interval(row.difference_low, row.difference_high), _p(p)]
    cost = row.cost
    cells += [count(cost["samples"]), duration(cost["seconds"]), count(cost["flops"]), size(cost["peak_memory"])]
    return [*cells, count(cost["learned_parameters"])]


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{number(low)} .. {number(high)}"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


# -------------------------------------------------------------------------------------------------------- the formats


def _table(compared: "Comparison") -> None:
    rows = [_cells(compared, row) for row in compared.rows]
    print(_title(compared))
    print_table(_header(compared), rows, left=len(compared.by))


def _markdown(compared: "Comparison") -> None:
    header, left = _header(compared), len(compared.by)
    print(f"{_title(compared)}\n")
    _print_bars(header)
    _print_bars(["---" if place < left else "---:" for place in range(len(header))])
    for row in compared.rows:
        _print_bars([cell.replace("|", "\\|").replace("*", "\\*") for cell in _cells(compared, row)])
    if compared.notices:
        print()
    for notice in compared.notices:
        print(f"- Note: {notice}")


def _print_bars(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |")


def _latex(compared: "Comparison") -> None:
    left, right = "l" * len(compared.by), "r" * (len(_header(compared)) - len(compared.by))
    print(f"% {_title(compared)}\n\\begin{{tabular}}{{{left}{right}}}\n\\toprule")
    _print_latex(_header(compared))
    print("\\midrule")
    for row in compared.rows:
        _print_latex(_cells(compared, row))
    print("\\bottomrule\n\\end{tabular}")
    for notice in compared.notices:
        print(f"\\par\\footnotesize Note: {notice.translate(LATEX_ESCAPES)}")


def _print_latex(cells: Sequence[str]) -> None:
    print(f"{' & '.join(cell.translate(LATEX_ESCAPES) for cell in cells)} \\\\")


def _csv(compared: "Comparison") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for place, row in enumerate(compared.rows):
        figures = asdict(row)
        group, runs, cost = figures.pop("group"), figures.pop("runs"), figures.pop("cost")
        figures["baseline"] = None if row.baseline is None else ",".join(row.baseline)
        if place == 0:
            writer.writerow([*compared.by, *figures, *cost, "runs"])
        writer.writerow([*group, *figures.values(), *cost.values(), " ".join(runs)])


def _json(compared: "Comparison") -> None:
    print(json.dumps(asdict(compared), indent=1))


PRINTERS = {"table": _table, "md": _markdown, "csv": _csv, "json": _json, "latex": _latex}
