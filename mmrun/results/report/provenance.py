"""How the runs of a report were made: the config keys that differ, machine and code, and every run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mmrun.config import WITHOUT_EFFECT
from mmrun.results import selection
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_duration, format_number
from mmrun.results.listing import list_tags
from mmrun.results.report.findings import Findings
from mmrun.results.report.groups import format_group
from mmrun.results.report.section import Section
from mmrun.results.run_values import Group, flatten, format_value, get_metric, lookup
from mmrun.results.schema import RunRecord
from mmrun.results.table import Table

WORDS = ("tags", "note")  # columns of the user's, where a run has any


def build_config_section(findings: Findings, order: Sequence[Group]) -> Section:
    """Build the section on the config keys in which the groups differ.

    Args:
        findings: of the report.
        order: of the groups, a column each.

    Returns:
        The section, folded; keys without effect on results are left out.
    """
    values = _collect_values(selection.group_runs(findings.runs, findings.question.by), order)
    rows = []
    for key, values_by_group in values.items():
        if key.split(".")[0] in (*WITHOUT_EFFECT, "seed") or key in findings.question.by:
            continue
        cells = [" or ".join(sorted(values_by_group.get(group, {"-"}))) for group in order]
        if len(set(cells)) > 1:
            rows.append([key, *cells])
    if not rows:
        message = "The groups differ only in the keys by which they are grouped."
        return Section("Configs that differ", message, closed=True)
    header = ["key", *map(format_group, order)]
    table = Table("config keys in which the groups differ", header, rows, len(header))
    return Section("Configs that differ", tables=[table], closed=True)


def _collect_values(
    groups: Mapping[Group, Iterable[RunRecord]], order: Iterable[Group]
) -> dict[str, dict[Group, set[str]]]:
    """Return the values of each choice and config key, by group."""
    values: dict[str, dict[Group, set[str]]] = {}
    for group in order:
        for run in groups[group]:
            for key, value in _list_values(run):
                values.setdefault(key, {}).setdefault(group, set()).add(format_value(value))
    return values


def _list_values(run: RunRecord) -> Iterator[tuple[str, object]]:
    for key in run["choices"]:
        yield key, lookup(run, key)
    yield from flatten(run["config"])


def build_environment_section(environments: Mapping[str, Mapping[str, int]]) -> Section:
    """Build the section on machine and code.

    Args:
        environments: number of runs by property and value.

    Returns:
        The section, folded.
    """
    if not environments:
        return Section("Environment", "No run recorded its environment.", closed=True)
    rows = []
    for name, counts in environments.items():
        rows.append([name, _format_counts(counts)])
    return Section("Environment", tables=[Table("machine and code", ["property", "value"], rows, 2)], closed=True)


def _format_counts(counts: Mapping[str, int]) -> str:
    """Write the values, with the number of runs where there are several values."""
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} (n={count})" for value, count in counts.items())


def build_run_section(findings: Findings) -> Section:
    """Build the section that lists every run.

    Returns:
        The section, folded.
    """
    metric = findings.question.metric
    keys = [*findings.question.by, *findings.setting_keys, "seed"]
    rows, configs = [], []
    words = {run["run"]: _read_words(run) for run in findings.runs}
    shown = [column for column in WORDS if any(run_words[column] for run_words in words.values())]
    for run in findings.runs:
        configs.append(RunFolder(run["folder"]).config_file)
        cells = [run["run"], *(format_value(lookup(run, key)) for key in keys), format_number(get_metric(run, metric))]
        costs = [f"{run['cost']['epochs']:.3g}", format_duration(run["cost"]["seconds"])]
        rows.append([*cells, *costs, *(words[run["run"]][column] for column in shown)])
    header = ["run", *keys, metric, "epochs", "time", *shown]
    table = Table("all runs of this report", header, rows, len(keys) + 1, files=configs)
    return Section("Runs", tables=[table], closed=True)


def _read_words(run: RunRecord) -> dict[str, str]:
    """Return the user's tags and note."""
    note = RunFolder(run["folder"]).read_note(run["config"])
    return {"tags": ", ".join(list_tags(run["config"].get("tag"))), "note": note or ""}
