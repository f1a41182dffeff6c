"""The first lines of a report: what the figures say, in words. Every clause comes from data."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmrun.results.compare import Comparison, Question, Row, is_significant
from mmrun.results.curves import Crossing, Curves
from mmrun.results.formatting import format_number, format_p_value
from mmrun.results.ranks import Ranking
from mmrun.results.report.findings import Findings, Setting
from mmrun.results.tables import CORRECTION_NAMES

WORTH_SAYING = 0.1  # by how much a cost must differ to be named
COSTS = {"seconds": "time", "flops": "FLOPs", "peak_memory": "memory", "trainable_parameters": "parameters that learn"}
UNITS = {"epochs": "epochs", "steps": "steps", "samples": "samples", "seconds": "s", "flops": "FLOPs"}


TELLING = ("better", "worse", "note", "unmatched", "undecided")  # verdicts, what tells most first


@dataclass(frozen=True)
class Answer:
    """One sentence, and what it amounts to."""

    text: str
    verdict: str  # one of TELLING


def answers(findings: Findings, memory: bool) -> list[Answer]:
    """Answer the question: first what was told apart, last what was not. `memory`: whether its peak can be compared."""
    found = []
    for name, curves in findings.curves:
        found += [_crossing(crossing, curves, name) for crossing in curves.crossings]
    if findings.ranking is not None:
        found.append(_ranked(findings.ranking))
    for setting in findings.settings:
        found += _of_setting(setting, findings.where(setting), memory)
    return sorted(found, key=lambda answer: TELLING.index(answer.verdict))


def _of_setting(setting: Setting, where: str, memory: bool) -> list[Answer]:
    compared = setting.compared
    prefix = f"{where}: " if where else ""
    rows = [row for row in compared.rows if row.difference is not None]
    if not rows:
        return [Answer(f"{prefix}{_alone(row)}", "note") for row in compared.rows]
    bases = {row.group: row for row in compared.rows}
    found = []
    for row in rows:
        assert row.baseline is not None
        text, verdict = _verdict(row, compared.question, _terms(setting, compared.question), _tested(row, compared))
        cost = "" if verdict == "unmatched" else _cost(row, bases[row.baseline], memory, compared.question.amortise)
        found.append(Answer(f"{prefix}{text}{cost}.", verdict))
    return found


def _alone(row: Row) -> str:
    interval = "" if row.low is None else f" [{short(row.low)}, {short(row.high)}]"
    return f"{_name(row.group)} reaches {short(row.mean)}{interval}, n = {row.n}; nothing here to compare it with."


def _verdict(row: Row, question: Question, terms: str, tested: str) -> tuple[str, str]:
    """Describe which group is better, or that the data cannot tell."""
    assert row.difference is not None
    assert row.baseline is not None
    group, baseline = _name(row.group), _name(row.baseline)
    if row.unmatched:
        side = "above" if row.difference > 0 else "below"
        said = f"{group} is {_amount(row)} {side} {baseline}, {tested}, but not on equal terms"
        return f"{said} ({', '.join(row.unmatched)}): no verdict", "unmatched"
    if row.p is None:
        amount = f"{_amount(row)} {'above' if row.difference > 0 else 'below'}" if row.difference else "level with"
        return f"{group} is {amount} {baseline} {terms}, {tested}: no verdict", "undecided"
    if not is_significant(row):
        seen = "" if row.detectable is None else f" (so few runs would show a difference of {short(row.detectable)})"
        said = f"{group} and {baseline} cannot be told apart: {_signed(row)} {terms}, {tested}"
        return said + seen, "undecided"
    better = (row.difference < 0) == question.lower_is_better
    verb = "beats" if better else "falls short of"
    return f"{group} {verb} {baseline} by {_amount(row)} {terms}, {tested}", "better" if better else "worse"


def _tested(row: Row, compared: Comparison) -> str:
    """Describe the number of runs behind a difference, and its p value."""
    n = f"n = {row.n if row.pairs is None else row.pairs}"
    if row.p is None:
        return f"{n}, not tested"
    correct = compared.question.correct
    if correct == "none" or sum(other.p is not None for other in compared.rows) == 1:
        return f"{n}, p {_p(row.p)}"
    return f"{n}, p {_p(row.p_adjusted)} after {CORRECTION_NAMES[correct]}"


def _amount(row: Row) -> str:
    """Write the size of a difference, and its interval turned the same way."""
    assert row.difference is not None
    if row.difference_low is None or row.difference_high is None:
        return short(abs(row.difference))
    ends = (row.difference_low, row.difference_high)
    low, high = ends if row.difference >= 0 else (-ends[1], -ends[0])
    return f"{short(abs(row.difference))} [{short(low)}, {short(high)}]"


def _signed(row: Row) -> str:
    assert row.difference is not None
    sign = "+" if row.difference > 0 else ""
    interval = "" if row.difference_low is None else f" [{short(row.difference_low)}, {short(row.difference_high)}]"
    return f"{sign}{short(row.difference)}{interval}"


def _terms(setting: Setting, question: Question) -> str:
    """Describe what compared groups have in common."""
    if question.match != "budget":
        return f"at equal {COSTS.get(question.match, question.match)}"
    if any(key.startswith("budget") for key in question.by):
        return "at the budgets named"
    unit, amount = next(iter(setting.runs[0]["budget"].items()))
    return f"at equal budget ({amount:g} {UNITS[unit]})"


def _cost(row: Row, base: Row, memory: bool, fusions: int) -> str:
    """Describe the costs that differ, or that none does."""
    said, compared = [], []
    shared = f"shared by {fusions} fusions, " if fusions > 1 else ""
    for name, words in COSTS.items():
        cost, base_cost = row.cost[name], base.cost[name]
        if cost is None or base_cost is None or not base_cost or (name == "peak_memory" and not memory):
            continue
        compared.append(words)
        ratio = cost / base_cost
        if abs(ratio - 1) > WORTH_SAYING:
            said.append(f"{ratio:.2g}x the {words}")
    if said:
        return f"; {shared}it costs {_listed(said)}"
    return f"; {shared}{_listed(compared)} are within 10 %" if compared else ""


def _crossing(crossing: Crossing, curves: Curves, where: str) -> Answer:
    group, baseline = _name(crossing.group), _name(crossing.baseline)
    prefix = f"{where}: " if where else ""
    if crossing.at is None:
        span = f"{curves.across} = {curves.values[0]:g} and {curves.values[-1]:g}"
        some = "" if not crossing.share else f" (in {crossing.share:.0%} of resamples they do)"
        return Answer(f"{prefix}{group} and {baseline} do not cross between {span}{some}.", "undecided")
    verb = "overtakes" if crossing.overtakes else "falls behind"
    interval = "" if crossing.low is None else f" [{crossing.low:.3g}, {crossing.high:.3g}]"
    share = "" if crossing.share is None or crossing.share >= 0.95 else f", in {crossing.share:.0%} of resamples"
    return Answer(f"{prefix}{group} {verb} {baseline} at {curves.across} = {crossing.at:.3g}{interval}{share}.", "note")


def _ranked(ranking: Ranking) -> Answer:
    ranks = ", ".join(f"{_name(group)} {rank:.2f}" for group, rank in zip(ranking.groups, ranking.ranks, strict=True))
    over = f"over {len(ranking.blocks)} values of {', '.join(ranking.over)}"
    if not ranking.apart:
        return Answer(
            f"{over}, no group ranks clearly before another (mean ranks: {ranks}; p {_p(ranking.p)}).", "undecided"
        )
    apart = [f"{_name(better)} before {_name(worse)}" for better, worse in ranking.apart]
    return Answer(f"{over}, {_listed(apart)} (mean ranks: {ranks}; p {_p(ranking.p)}).", "better")


def _p(p: float | None) -> str:
    said = format_p_value(p)
    return said if said.startswith("<") else f"= {said}"


def _name(group: Sequence[str]) -> str:
    return ", ".join(group)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def short(value: float | None) -> str:
    """Write three digits after the point, or those that count."""
    if value is None:
        return "-"
    return f"{value:.3f}" if 0.0005 <= abs(value) < 1000 or value == 0 else format_number(value)
