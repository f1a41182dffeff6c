"""What comparisons found, as tables of words: the same on a terminal, in Markdown, in LaTeX and on a report's page."""

from dataclasses import dataclass

from mmrun.results.compare import Comparison, Question, Row
from mmrun.results.costs import PAYS
from mmrun.results.curves import Crossing, Curves
from mmrun.results.examples import Examples
from mmrun.results.formatting import count, duration, interval, number, probability, signed, size
from mmrun.results.ranks import Ranking

Result = Comparison | Curves | Ranking | Examples

CORRECTED = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
PAIRED_TESTS = {"t": "paired t", "wilcoxon": "Wilcoxon's signed ranks", "permutation": "permutation of signs"}
TESTS = {"t": "Welch's t", "wilcoxon": "Wilcoxon's rank sum", "permutation": "permutation"}
FLIPPED_SHOWN = 10


@dataclass(frozen=True)
class Table:
    """Cells in words. The first `left` columns say what a row is about."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    left: int = 1


def tables(result: Result) -> list[Table]:
    """Return all tables of a result."""
    if isinstance(result, Comparison):
        return [figures(result), costs(result)]
    if isinstance(result, Curves):
        return [means(result), crossings(result)] if result.crossings else [means(result)]
    if isinstance(result, Ranking):
        return [ranks(result)]
    return [examples(result), flipped(result)]


def notices(result: Result) -> list[str]:
    """Return all that one should know before believing a result."""
    if not isinstance(result, Curves):
        return result.notices
    pairs = zip(result.values, result.comparisons, strict=True)
    return result.notices + [f"{result.across}={value:g}: {notice}" for value, c in pairs for notice in c.notices]


# ------------------------------------------------------------------------------------------------------- comparisons


def figures(compared: Comparison) -> Table:
    """Show the groups' means and their differences to the baseline."""
    question = compared.question
    header = [*question.by, "n", "mean", "sd", "95 % interval"]
    if question.against is not None:
        pairs = ["pairs"] if question.paired else []
        header += [*pairs, "difference", "95 % interval", "p", "effect", "P(better)", "detectable"]
    rows = [
        [*row.group, str(row.n), number(row.mean), number(row.sd), interval(row.low, row.high)] for row in compared.rows
    ]
    if question.against is not None:
        rows = [cells + _difference(row, question) for cells, row in zip(rows, compared.rows, strict=True)]
    return Table(title(compared), header, rows, len(question.by))


def _difference(row: Row, question: Question) -> list[str]:
    cells = ["-" if row.pairs is None else str(row.pairs)] if question.paired else []
    mark = " !" if row.unmatched else " *" if row.best else ""
    better = "-" if row.improvement is None else f"{row.improvement.value:.2f}"
    effect = "-" if row.effect is None else f"{row.effect:+.2f}"
    p = probability(row.p if question.correct == "none" else row.p_adjusted)
    interval_of_difference = interval(row.difference_low, row.difference_high)
    return [
        *cells,
        f"{signed(row.difference)}{mark}",
        interval_of_difference,
        p,
        effect,
        better,
        number(row.detectable),
    ]


def title(compared: Comparison) -> str:
    """Describe what a comparison compares, and how."""
    said = about(compared.question)
    if any(row.best for row in compared.rows):
        said += "; * best, p < 0.05"
    if any(row.unmatched for row in compared.rows):
        said += "; ! not on equal terms"
    return said


def about(question: Question) -> str:
    """Describe what is compared, and how."""
    said = f"{question.metric}, {'lower' if question.lower_is_better else 'higher'} is better"
    if question.against is None:
        return said
    paired = f"paired by {', '.join(question.paired)}" if question.paired else "not paired"
    test = (PAIRED_TESTS if question.paired else TESTS)[question.test]
    correct = f", p corrected by {CORRECTED[question.correct]}" if question.correct != "none" else ""
    return f"{said}; difference to {question.against}, {paired} ({test}){correct}"


def costs(compared: Comparison) -> Table:
    """Show the groups' mean costs, amortised where that is asked for."""
    question = compared.question
    caption = "cost of a run"
    header = [*question.by, "epochs", "samples", "time", "FLOPs", "memory", "learned"]
    if question.amortise > 1:
        caption += f"; what encoders learned alone is shared by {question.amortise} fusions"
        header += ["fewer epochs from", "less time from", "fewer FLOPs from"]
    rows = []
    for row in compared.rows:
        cost = row.cost
        cells = [count(cost["epochs"]), count(cost["samples"]), duration(cost["seconds"]), count(cost["flops"])]
        cells += [size(cost["peak_memory"]), count(cost["trainable_parameters"])]
        if question.amortise > 1:
            cells += ["-"] * len(PAYS) if row.break_even is None else [_fusions(k) for k in row.break_even.values()]
        rows.append([*row.group, *cells])
    return Table(caption, header, rows, len(question.by))


def _fusions(least: int | None) -> str:
    return "never" if least is None else "1 fusion" if least == 1 else f"{least} fusions"


# ------------------------------------------------------------------------------------------- along an axis, over sets


def means(curves: Curves) -> Table:
    """Show each group's mean at each value, and whether it differs from the baseline's there."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for place, compared in enumerate(curves.comparisons):
        for row in compared.rows:
            cells = rows.setdefault(row.group, ["-"] * len(curves.values))
            cells[place] = f"{number(row.mean)}{' !' if row.unmatched else ' *' if row.best else ''}"
    header = [*curves.question.by, *(f"{curves.across}={value:g}" for value in curves.values)]
    marks = "" if curves.question.against is None else "; * best there, p < 0.05; ! not on equal terms"
    caption = f"mean {about(curves.question)}{marks}"
    return Table(caption, header, [[*group, *cells] for group, cells in rows.items()], len(curves.question.by))


def crossings(curves: Curves) -> Table:
    """Show where means cross."""
    scale = "logarithmic" if curves.logarithmic else "linear"
    rows = [
        [
            ",".join(crossing.group),
            ",".join(crossing.baseline),
            crossed(crossing),
            "-" if crossing.at is None else f"{crossing.at:.3g}",
            "-" if crossing.low is None else f"{crossing.low:.3g} .. {crossing.high:.3g}",
            "-" if crossing.share is None else f"{crossing.share:.0%}",
        ]
        for crossing in curves.crossings
    ]
    header = ["group", "baseline", "the group", curves.across, "95 % interval", "of resamples"]
    return Table(f"where means cross, by straight lines on a {scale} axis", header, rows, 3)


def crossed(crossing: Crossing) -> str:
    """Return one word for what happens."""
    return {True: "overtakes", False: "falls behind", None: "never crosses"}[crossing.overtakes]


def ranks(ranking: Ranking) -> Table:
    """Show mean ranks, and the means behind them."""
    tested = "all ranks are tied"
    if ranking.p is not None:
        name = "Friedman's chi-square" if ranking.test == "friedman" else "Wilcoxon's signed ranks"
        tested = f"{name} {number(ranking.statistic)}, p {probability(ranking.p)}"
    critical = "" if ranking.critical is None else f"; critical difference of ranks {ranking.critical:.2f} (Nemenyi)"
    apart = ", ".join(f"{','.join(better)} before {','.join(worse)}" for better, worse in ranking.apart) or "none"
    direction = "lower" if ranking.question.lower_is_better else "higher"
    over = f"{len(ranking.blocks)} values of {','.join(ranking.over)}"
    said = f"{ranking.question.metric}, {direction} is better; ranks over {over}"
    header = [*ranking.question.by, "mean rank", *(",".join(block) for block in ranking.blocks)]
    rows = [
        [*group, f"{rank:.2f}", *(number(means[place]) for means in ranking.means)]
        for place, (group, rank) in enumerate(zip(ranking.groups, ranking.ranks, strict=True))
    ]
    return Table(f"{said}; {tested}{critical}; apart: {apart}", header, rows, len(ranking.question.by))


# ---------------------------------------------------------------------------------------------------------- examples


def examples(found: Examples) -> Table:
    """Show two runs' figures on the same rows."""
    tests = {"mcnemar": "McNemar, exact", "wilcoxon": "Wilcoxon's signed ranks"}
    rows = [
        [
            task.task,
            task.figure,
            str(task.rows),
            number(task.one),
            number(task.other),
            signed(task.difference),
            interval(task.low, task.high),
            tests[task.test],
            probability(task.p),
            str(len(task.only_one)),
            str(len(task.only_other)),
        ]
        for task in found.tasks
    ]
    header = ["task", "figure", "rows", "A", "B", "A - B", "95 % interval", "test", "p", "A better", "B better"]
    return Table(
        f"A = {found.one}, B = {found.other}, {found.split} rows, interval by paired bootstrap", header, rows, 2
    )


def flipped(found: Examples) -> Table:
    """Show the first rows that one run got better than the other."""
    rows = []
    for task in found.tasks:
        for name, ids in (("A", task.only_one), ("B", task.only_other)):
            more = f" and {len(ids) - FLIPPED_SHOWN} more" if len(ids) > FLIPPED_SHOWN else ""
            rows.append([task.task, name, f"{', '.join(ids[:FLIPPED_SHOWN]) or 'none'}{more}"])
    return Table("rows that only one run got right, or got better", ["task", "run", "ids"], rows, 3)
