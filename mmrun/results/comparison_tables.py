"""Comparisons, curves, rankings and examples as tables of text."""

from mmrun.results.compare import Comparison, Question, Row
from mmrun.results.costs import BREAK_EVEN_COSTS
from mmrun.results.curves import Crossing, Curves
from mmrun.results.examples import Examples
from mmrun.results.formatting import (
    format_count,
    format_duration,
    format_interval,
    format_number,
    format_p_value,
    format_signed,
    format_size,
)
from mmrun.results.ranks import Ranking
from mmrun.results.table import Style, Table

Result = Comparison | Curves | Ranking | Examples

CORRECTION_NAMES = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
PAIRED_TESTS = {"t": "paired t", "wilcoxon": "Wilcoxon's signed ranks", "permutation": "permutation of signs"}
TESTS = {"t": "Welch's t", "wilcoxon": "Wilcoxon's rank sum", "permutation": "permutation"}
EXAMPLE_TESTS = {
    "mcnemar": "McNemar, exact",
    "wilcoxon": "Wilcoxon's signed ranks",
    "permutation": "permutation of groups",
}
MAX_FLIPPED_IDS = 10
MEAN_INTERVAL = "mean's interval"  # where another column is the interval of a difference
DETAILS = ("sd", MEAN_INTERVAL, "pairs", "effect", "P(better)", "detectable")  # of means; the others decide


def build_tables(result: Result) -> list[Table]:
    """Return all tables of a result.

    Args:
        result: of `mmrun compare`.
    """
    if isinstance(result, Comparison):
        inference = [] if result.inference is None else [result.inference]
        return [build_means_table(result), build_cost_table(result), *inference]
    if isinstance(result, Curves):
        means = build_curve_table(result)
        return [means, build_crossing_table(result)] if result.crossings else [means]
    if isinstance(result, Ranking):
        return [build_rank_table(result)]
    return [build_example_table(result), build_flipped_table(result)]


def collect_notices(result: Result) -> list[str]:
    """Return all that one should know before trusting a result.

    Returns:
        The notices; those of one comparison among several name the value that it belongs to.
    """
    notices = list(result.notices)
    if isinstance(result, Curves):
        for value, comparison in zip(result.values, result.comparisons, strict=True):
            notices += [f"{result.across}={value:g}: {notice}" for notice in comparison.notices]
    return notices


# ------------------------------------------------------------------------------------------------------- comparisons


def build_means_table(comparison: Comparison) -> Table:
    """Show the mean of each group, and its difference to the baseline.

    Args:
        comparison: the columns on differences are left out where it has no baseline.
    """
    question = comparison.question
    header = [*question.by, "n", "mean", "sd", "95 % interval" if question.against is None else MEAN_INTERVAL]
    if question.against is not None:
        pairs = ["pairs"] if question.paired else []
        header += [*pairs, "difference", "95 % interval", "p", "effect", "P(better)", "detectable"]
    details = tuple(place for place, name in enumerate(header) if name in DETAILS)
    rows, styles = [], dict[tuple[int, int], Style]()
    for number, row in enumerate(comparison.rows):
        if row.best:
            styles[number, header.index("difference")] = "best"
        cells = [str(row.n), format_number(row.mean), format_number(row.sd), format_interval(row.low, row.high)]
        if question.against is not None:
            cells += _difference_cells(row, question)
        rows.append([*row.group, *cells])
    return Table(describe_comparison(comparison), header, rows, len(question.by), details, styles=styles)


def _difference_cells(row: Row, question: Question) -> list[str]:
    """Return the cells on the difference of a group to its baseline."""
    cells = ["-" if row.pairs is None else str(row.pairs)] if question.paired else []
    return [
        *cells,
        f"{format_signed(row.difference)}{_mark(row)}",
        format_interval(row.difference_low, row.difference_high),
        format_p_value(row.p if question.correct == "none" else row.p_adjusted),
        "-" if row.effect is None else f"{row.effect:+.2f}",
        "-" if row.improvement is None else f"{row.improvement.value:.2f}",
        format_number(row.detectable),
    ]


def _mark(row: Row) -> str:
    """Return the mark behind a number: ! for a row not on equal terms with its baseline, * for the best."""
    if row.unmatched:
        return " !"
    return " *" if row.best else ""


def describe_comparison(comparison: Comparison) -> str:
    """Describe what a comparison compares, and what its marks mean.

    Args:
        comparison: marks that it does not have are not explained.
    """
    own_tests = sum(row.p is not None for row in comparison.rows)
    description = describe_question(comparison.question, None if comparison.tests == own_tests else comparison.tests)
    if any(row.best for row in comparison.rows):
        description += "; * best, p < 0.05"
    if any(row.unmatched for row in comparison.rows):
        description += "; ! not on equal terms"
    return description


def describe_question(question: Question, tests: int | None = None) -> str:
    """Describe what is compared, and by which test.

    Args:
        question: without a baseline there is no test.
        tests: number of p-values that are corrected together, to be named; None: those of the table.
    """
    description = f"{question.metric}, {_direction(question)} is better"
    if question.against is None:
        return description
    paired = f"paired by {', '.join(question.paired)}" if question.paired else "not paired"
    test = (PAIRED_TESTS if question.paired else TESTS)[question.test]
    correct = f", p corrected by {CORRECTION_NAMES[question.correct]}" if question.correct != "none" else ""
    if correct and tests is not None and tests > 1:
        correct += f" over {tests} tests"
    return f"{description}; difference to {question.against}, {paired} ({test}){correct}"


def _direction(question: Question) -> str:
    """Return which values of the metric are better."""
    return "lower" if question.lower_is_better else "higher"


def build_cost_table(comparison: Comparison) -> Table:
    """Show the mean costs of the groups.

    Args:
        comparison: where its costs are amortised, the table also shows from how many fusions on a group costs less
            than its baseline.
    """
    question = comparison.question
    caption = "cost of a run"
    header = [*question.by, "epochs", "samples", "time", "FLOPs", "memory", "trainable"]
    if question.amortise > 1:
        caption += f"; stages that train encoders alone are shared by {question.amortise} fusions"
        header += ["fewer epochs from", "less time from", "fewer FLOPs from"]
    rows = []
    for row in comparison.rows:
        cells = _cost_cells(row)
        if question.amortise > 1:
            cells += _break_even_cells(row)
        rows.append([*row.group, *cells])
    return Table(caption, header, rows, len(question.by))


def _cost_cells(row: Row) -> list[str]:
    """Return the cells on the costs of a group."""
    return [
        format_count(row.cost["epochs"]),
        format_count(row.cost["samples"]),
        format_duration(row.cost["seconds"]),
        format_count(row.cost["flops"]),
        format_size(row.cost["peak_memory"]),
        format_count(row.cost["trainable_parameters"]),
    ]


def _break_even_cells(row: Row) -> list[str]:
    """Return the cells on the number of fusions from which on a group costs less than its baseline."""
    if row.break_even is None:
        return ["-"] * len(BREAK_EVEN_COSTS)
    cells = []
    for fusions in row.break_even.values():
        cells.append("never" if fusions is None else "1 fusion" if fusions == 1 else f"{fusions} fusions")
    return cells


# ------------------------------------------------------------------------------------------- along an axis, over sets


def build_curve_table(curves: Curves) -> Table:
    """Show the mean of each group at each value, and whether it differs from the baseline's.

    Args:
        curves: a group without runs at a value has a dash.
    """
    cells_by_group: dict[tuple[str, ...], list[str]] = {}
    for place, comparison in enumerate(curves.comparisons):
        for row in comparison.rows:
            cells = cells_by_group.setdefault(row.group, ["-"] * len(curves.values))
            cells[place] = f"{format_number(row.mean)}{_mark(row)}"
    header = [*curves.question.by, *(f"{curves.across}={value:g}" for value in curves.values)]
    marks = "" if curves.question.against is None else "; * best at this value, p < 0.05; ! not on equal terms"
    rows = [[*group, *cells] for group, cells in cells_by_group.items()]
    description = describe_question(curves.question, curves.comparisons[0].tests)
    return Table(f"mean {description}{marks}", header, rows, len(curves.question.by))


def build_crossing_table(curves: Curves) -> Table:
    """Show where the means of the groups cross those of their baselines.

    Args:
        curves: with a baseline.
    """
    scale = "logarithmic" if curves.logarithmic else "linear"
    rows = []
    for crossing in curves.crossings:
        names = [",".join(crossing.group), ",".join(crossing.baseline), describe_crossing(crossing)]
        at = "-" if crossing.at is None else f"{crossing.at:.3g}"
        interval = "-" if crossing.low is None else f"{crossing.low:.3g} .. {crossing.high:.3g}"
        between = "-" if crossing.left is None else f"{crossing.left:g} and {crossing.right:g}"
        rows.append([*names, at, interval, between])
    header = ["group", "baseline", "the group", curves.across, "95 % interval", "significant at"]
    caption = f"where means cross, by straight lines on a {scale} axis between values with significant differences"
    return Table(caption, header, rows, 3)


def describe_crossing(crossing: Crossing) -> str:
    """Return what the group does with growing values: overtakes, falls behind, or is not shown to cross."""
    if crossing.unmatched:
        return f"no verdict: {', '.join(crossing.unmatched)}"
    return {True: "overtakes", False: "falls behind", None: "no crossing shown"}[crossing.overtakes]


def build_rank_table(ranking: Ranking) -> Table:
    """Show the mean rank of each group, and its mean in each block.

    Args:
        ranking: its test and the pairs that differ are in the caption.
    """
    question = ranking.question
    header = [*question.by, "mean rank", *map(",".join, ranking.blocks)]
    rows = []
    for place, group in enumerate(ranking.groups):
        means = [format_number(means[place]) for means in ranking.means]
        rows.append([*group, f"{ranking.ranks[place]:.2f}", *means])
    return Table(_describe_ranking(ranking), header, rows, len(question.by))


def _describe_ranking(ranking: Ranking) -> str:
    """Describe what is ranked, and what the test finds."""
    over = f"{len(ranking.blocks)} values of {','.join(ranking.over)}"
    description = f"{ranking.question.metric}, {_direction(ranking.question)} is better; ranks over {over}"
    test = "all ranks are tied"
    if ranking.p is not None:
        name = "Friedman's chi-square" if ranking.test == "friedman" else "Wilcoxon's signed ranks"
        test = f"{name} {format_number(ranking.statistic)}, p {format_p_value(ranking.p)}"
    critical = "" if ranking.critical is None else f"; critical difference of ranks {ranking.critical:.2f} (Nemenyi)"
    apart = ", ".join(f"{','.join(better)} before {','.join(worse)}" for better, worse in ranking.apart) or "none"
    if ranking.unmatched:
        apart = f"no verdict, not on equal terms ({', '.join(ranking.unmatched)})"
    return f"{description}; {test}{critical}; apart: {apart}"


# ---------------------------------------------------------------------------------------------------------- examples


def build_example_table(examples: Examples) -> Table:
    """Show the metrics of two runs on the same rows.

    Args:
        examples: a row of the table is a task.
    """
    rows = []
    for task in examples.tasks:
        cells = [
            task.task,
            task.metric,
            str(task.rows),
            "-" if task.groups is None else str(task.groups),
            format_number(task.mean_a),
            format_number(task.mean_b),
            format_signed(task.difference),
            format_interval(task.low, task.high),
            EXAMPLE_TESTS[task.test],
            format_p_value(task.p),
            str(len(task.better_a)),
            str(len(task.better_b)),
        ]
        rows.append(cells)
    header = [
        "task",
        "metric",
        "rows",
        "groups",
        "A",
        "B",
        "A - B",
        "95 % interval",
        "test",
        "p",
        "A better",
        "B better",
    ]
    over = "rows, each alone" if examples.column is None else f"rows, grouped by {examples.column}"
    caption = f"A = {examples.run_a}, B = {examples.run_b}, {examples.split} {over} (Student's interval)"
    return Table(caption, header, rows, 2)


def build_flipped_table(examples: Examples) -> Table:
    """Show the first rows that one run predicts better than the other.

    Args:
        examples: at most MAX_FLIPPED_IDS rows of each run and task are shown.
    """
    rows = []
    for task in examples.tasks:
        for name, ids in (("A", task.better_a), ("B", task.better_b)):
            more = f" and {len(ids) - MAX_FLIPPED_IDS} more" if len(ids) > MAX_FLIPPED_IDS else ""
            rows.append([task.task, name, f"{', '.join(ids[:MAX_FLIPPED_IDS]) or 'none'}{more}"])
    return Table("rows that only one run predicts correctly, or better", ["task", "run", "ids"], rows, 3)
