"""The first lines of a report: its results in sentences. Every clause comes from data."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmrun.results.compare import Comparison, Question, Row, is_significant
from mmrun.results.comparison_tables import CORRECTION_NAMES
from mmrun.results.curves import Crossing, Curves
from mmrun.results.formatting import format_number, format_p_value
from mmrun.results.ranks import Ranking
from mmrun.results.report.findings import Findings, Setting
from mmrun.results.run_values import Group

MIN_COST_DIFFERENCE = 0.1  # relative; smaller differences of a cost are not mentioned
COSTS = {"seconds": "time", "flops": "FLOPs", "peak_memory": "memory", "trainable_parameters": "trainable parameters"}
UNITS = {"epochs": "epochs", "steps": "steps", "samples": "samples", "seconds": "s", "flops": "FLOPs"}
VERDICTS = ("better", "worse", "note", "unmatched", "undecided")  # in the order in which a report lists them


@dataclass(frozen=True)
class Answer:
    """One sentence about a result, and its verdict.

    Args:
        text: the sentence, with its full stop.
        verdict: one of VERDICTS.
    """

    text: str
    verdict: str


def write_answers(findings: Findings, compare_memory: bool) -> list[Answer]:
    """Write the answers to a report's question.

    Args:
        findings: of the report.
        compare_memory: whether the peak memory of the runs can be compared.

    Returns:
        A sentence for each compared group, crossing and ranking; significant differences first, undecided ones last.
    """
    answers = []
    for description, curves in findings.curves:
        for crossing in curves.crossings:
            answers.append(_describe_crossing(crossing, curves, description))
    if findings.ranking is not None:
        answers.append(_describe_ranking(findings.ranking))
    for setting in findings.settings:
        answers += _describe_comparison(setting, findings.describe_setting(setting), compare_memory)
    return sorted(answers, key=lambda answer: VERDICTS.index(answer.verdict))


def _describe_comparison(setting: Setting, description: str, compare_memory: bool) -> list[Answer]:
    """Return a sentence for each group that is compared with a baseline, or for each group where there is none."""
    comparison, question = setting.comparison, setting.comparison.question
    prefix = _format_prefix(description)
    rows = {row.group: row for row in comparison.rows}
    answers = []
    for row in comparison.rows:
        if row.difference is None:
            continue
        assert row.baseline is not None
        terms, test = _describe_terms(setting, question), _describe_test(row, comparison)
        text, verdict = _describe_difference(row, question, terms, test)
        if verdict != "unmatched":
            text += _describe_costs(row, rows[row.baseline], compare_memory, question.amortise)
        answers.append(Answer(f"{prefix}{text}.", verdict))
    if not answers:
        for row in comparison.rows:
            answers.append(Answer(f"{prefix}{_describe_mean(row)}", "note"))
    return answers


def _describe_mean(row: Row) -> str:
    """Describe a group without a baseline."""
    interval = "" if row.low is None else f" [{format_short(row.low)}, {format_short(row.high)}]"
    mean = f"{_join_values(row.group)} reaches {format_short(row.mean)}{interval}"
    count = " in one run" if row.n == 1 else f", n = {row.n}"
    return f"{mean}{count}; there is no baseline to compare it with."


def _describe_difference(row: Row, question: Question, terms: str, test: str) -> tuple[str, str]:
    """Describe which group is better, or that the data do not decide it; and return the verdict."""
    assert row.difference is not None
    assert row.baseline is not None
    group, baseline = _join_values(row.group), _join_values(row.baseline)
    amount, side = _format_amount(row), "above" if row.difference > 0 else "below"
    if row.unmatched:
        reasons = ", ".join(row.unmatched)
        text = f"{group} is {amount} {side} {baseline}, {test}, but not on equal terms ({reasons}): no verdict"
        return text, "unmatched"
    if row.p is None:
        position = f"{amount} {side}" if row.difference else "level with"
        return f"{group} is {position} {baseline} {terms}, {test}: no verdict", "undecided"
    if not is_significant(row):
        text = f"{group} and {baseline} do not differ significantly: {_format_signed(row)} {terms}, {test}"
        if row.detectable is not None:
            text += f" (this many runs would detect a difference of {format_short(row.detectable)})"
        return text, "undecided"
    if (row.difference < 0) == question.lower_is_better:
        return f"{group} beats {baseline} by {amount} {terms}, {test}", "better"
    return f"{group} falls short of {baseline} by {amount} {terms}, {test}", "worse"


def _describe_test(row: Row, comparison: Comparison) -> str:
    """Describe the number of runs behind a difference, and its p-value."""
    n = _describe_count(row)
    if row.p is None:
        return f"{n}, not tested"
    correction = comparison.question.correct
    if correction == "none" or comparison.tests == 1:
        return f"{n}, p {_format_p(row.p)}"
    return f"{n}, p {_format_p(row.p_adjusted)} after {CORRECTION_NAMES[correction]}"


def _describe_count(row: Row) -> str:
    if row.n == 1:
        return "one run each" if row.pairs == 1 else "one run"
    return f"n = {row.n if row.pairs is None else row.pairs}"


def _describe_terms(setting: Setting, question: Question) -> str:
    """Describe what the compared groups have in common."""
    if question.match != "budget":
        return f"at equal {COSTS.get(question.match, question.match)}"
    if any(key.startswith("budget") for key in question.by):
        return "at the given budgets"
    unit, amount = next(iter(setting.runs[0]["budget"].items()))
    return f"at equal budget ({amount:g} {UNITS[unit]})"


def _describe_costs(row: Row, baseline: Row, compare_memory: bool, fusions: int) -> str:
    """Describe the costs that differ, or that none does."""
    names, ratios = [], []
    for cost, name in COSTS.items():
        value, baseline_value = row.cost[cost], baseline.cost[cost]
        if cost == "peak_memory" and not compare_memory:
            continue
        if value is None or not baseline_value:
            continue
        names.append(name)
        ratio = value / baseline_value
        if abs(ratio - 1) > MIN_COST_DIFFERENCE:
            ratios.append(f"{ratio:.2g}x the {name}")
    shared = f"shared by {fusions} fusions, " if fusions > 1 else ""
    if ratios:
        return f"; {shared}it costs {_enumerate(ratios)}"
    return f"; {shared}{_enumerate(names)} are within 10 %" if names else ""


def _describe_crossing(crossing: Crossing, curves: Curves, description: str) -> Answer:
    group, baseline = _join_values(crossing.group), _join_values(crossing.baseline)
    prefix = _format_prefix(description)
    span = f"between {curves.across} = {curves.values[0]:g} and {curves.values[-1]:g}"
    if crossing.unmatched:
        reasons = ", ".join(crossing.unmatched)
        text = f"{group} and {baseline} are not on equal terms along {curves.across} ({reasons}): no verdict"
        return Answer(f"{prefix}{text}.", "unmatched")
    if crossing.at is None:
        return Answer(f"{prefix}no crossing of {group} and {baseline} is shown {span}.", "undecided")
    verb = "overtakes" if crossing.overtakes else "falls behind"
    place = f"{curves.across} = {crossing.at:.3g}"
    if crossing.low is not None:
        place += f" [{crossing.low:.3g}, {crossing.high:.3g}]"
    place += f", significantly different at {crossing.left:g} and {crossing.right:g}"
    return Answer(f"{prefix}{group} {verb} {baseline} at {place}.", "note")


def _describe_ranking(ranking: Ranking) -> Answer:
    ranks = []
    for group, rank in zip(ranking.groups, ranking.ranks, strict=True):
        ranks.append(f"{_join_values(group)} {rank:.2f}")
    over = f"over {len(ranking.blocks)} values of {', '.join(ranking.over)}"
    evidence = f"(mean ranks: {', '.join(ranks)}; p {_format_p(ranking.p)})"
    if ranking.unmatched:
        reasons = ", ".join(ranking.unmatched)
        text = f"{over}, the groups are not on equal terms ({reasons}): no verdict {evidence}."
        return Answer(text, "unmatched")
    if not ranking.apart:
        return Answer(f"{over}, no group ranks significantly above another {evidence}.", "undecided")
    pairs = []
    for better, worse in ranking.apart:
        pairs.append(f"{_join_values(better)} ranks above {_join_values(worse)}")
    return Answer(f"{over}, {_enumerate(pairs)} {evidence}.", "better")


# ---------------------------------------------------------------------------------------------- words and numbers


def _format_prefix(description: str) -> str:
    return f"{description}: " if description else ""


def _format_amount(row: Row) -> str:
    """Write the size of a difference without its sign, and the interval with its sign changed alike."""
    assert row.difference is not None
    if row.difference_low is None or row.difference_high is None:
        return format_short(abs(row.difference))
    low, high = row.difference_low, row.difference_high
    if row.difference < 0:
        low, high = -high, -low
    return f"{format_short(abs(row.difference))} [{format_short(low)}, {format_short(high)}]"


def _format_signed(row: Row) -> str:
    """Write a difference with its sign, and its interval."""
    assert row.difference is not None
    text = f"+{format_short(row.difference)}" if row.difference > 0 else format_short(row.difference)
    if row.difference_low is None:
        return text
    return f"{text} [{format_short(row.difference_low)}, {format_short(row.difference_high)}]"


def _format_p(p: float | None) -> str:
    text = format_p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _join_values(group: Group) -> str:
    """Return the name of a group in a sentence."""
    return ", ".join(group)


def _enumerate(items: Sequence[str]) -> str:
    """Write "a", "a and b" or "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def format_short(value: float | None) -> str:
    """Write a number with few digits.

    Args:
        value: None is written as a dash.

    Returns:
        Three digits after the point; significant digits where these would be none, or too many.
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if 0.0005 <= abs(value) < 1000 or value == 0 else format_number(value)
