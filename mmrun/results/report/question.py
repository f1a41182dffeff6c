"""What a report asks, in words: its title, how groups are compared, and why one of them is the baseline."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mmrun.results import comparison_tables
from mmrun.results.report.findings import Findings, Setting
from mmrun.results.run_values import lookup
from mmrun.results.schema import RunRecord
from mmrun.results.table import Table

MAX_NAMED_DATA = 3
WHY_BASELINE = {
    "holistic": "it fine-tunes the model as a whole, which pre-training apart has to beat",
    "scratch": "it trains without pre-training, and no run is holistic",
}


def write_title(findings: Findings) -> str:
    """Write the question of a report, with its data.

    Returns:
        "digits: which strategy has the highest test/accuracy?"; without a question where there is a single group.
    """
    question = findings.question
    data = _list_data(findings.runs)
    if question.against is None:
        return f"{data}: {question.metric} by {', '.join(question.by)}"
    best = "lowest" if question.lower_is_better else "highest"
    return f"{data}: which {' and '.join(question.by)} has the {best} {question.metric}?"


def _list_data(runs: Iterable[RunRecord]) -> str:
    names = list(dict.fromkeys(map(_name_data, runs)))
    return ", ".join(names) if len(names) <= MAX_NAMED_DATA else f"{len(names)} data sets"


def _name_data(run: RunRecord) -> str:
    """Return the name of a run's data set; of a user's own file that of the file."""
    name, path = run["dataset"]["name"], lookup(run, "dataset.path")
    return Path(path).name if name == "manifest" and isinstance(path, str) else name


def describe_comparison(findings: Findings) -> str:
    """Describe what is compared, by which test, and why one group is the baseline.

    Returns:
        One or two sentences.
    """
    question = findings.question
    description = comparison_tables.describe_question(question)
    if all(map(has_single_runs, findings.settings)):
        description = f"{_describe_without_test(findings)}; one run of each, so no interval and no test"
    return f"{description}. {_explain_baseline(findings)}".strip()


def _describe_without_test(findings: Findings) -> str:
    question = findings.question
    description = comparison_tables.describe_question(replace(question, against=None, paired=()))
    return description if question.against is None else f"{description}; difference to {question.against}"


def _explain_baseline(findings: Findings) -> str:
    baseline = findings.question.against
    if baseline is None:
        return ""
    if findings.baseline_is_given:
        return f"The baseline is {baseline}, as --against says."
    reason = WHY_BASELINE.get(baseline, "it comes first by name")
    return f"The baseline is {baseline}: {reason}; --against names another."


def has_single_runs(setting: Setting) -> bool:
    """Return whether every group of a setting is one run."""
    return all(row.n == 1 for row in setting.comparison.rows)


def drop_statistics(table: Table, findings: Findings) -> Table:
    """Drop from a table of means what single runs do not have: deviation, interval, test.

    Returns:
        The values of the runs, and their differences to the baseline.
    """
    columns = [*range(table.left), table.header.index("mean")]
    if "difference" in table.header:
        columns.append(table.header.index("difference"))
    header = [table.header[column].replace("mean", "one run") for column in columns]
    rows = [[row[column] for column in columns] for row in table.rows]
    return Table(_describe_without_test(findings), header, rows, table.left)
