"""How the runs of a report were made: configs that differ, machines and code, every run."""

from collections.abc import Mapping

from mmrun.config import WITHOUT_EFFECT
from mmrun.results import selection
from mmrun.results.formatting import format_duration, format_number
from mmrun.results.report.findings import Findings
from mmrun.results.report.section import Section
from mmrun.results.selection import Group, flatten, format_value, get_metric, lookup
from mmrun.results.tables import Table


def configs(findings: Findings, order: list[Group]) -> Section:
    """Show the keys in which the groups differ, and those only."""
    of_group = selection.group_runs(findings.runs, findings.question.by)
    groups = {group: of_group[group] for group in order}
    values: dict[str, dict[Group, set[str]]] = {}
    for group, runs in groups.items():
        for run in runs:
            for key, value in [*((key, lookup(run, key)) for key in run["choices"]), *flatten(run["config"])]:
                values.setdefault(key, {}).setdefault(group, set()).add(format_value(value))
    rows = []
    for key, of_groups in values.items():
        if key.split(".")[0] in (*WITHOUT_EFFECT, "seed") or key in findings.question.by:
            continue
        cells = [" or ".join(sorted(of_groups.get(group, {"-"}))) for group in groups]
        if len(set(cells)) > 1:
            rows.append([key, *cells])
    header = ["key", *(",".join(group) for group in groups)]
    said = "" if rows else "The groups differ in nothing but what they are grouped by."
    table = [Table("keys of the config in which the groups differ", header, rows, len(header))] if rows else []
    return Section("Configs that differ", said, table, closed=True)


def environment(machines: Mapping[str, Mapping[str, int]]) -> Section:
    """Show what is known of machine and code."""
    rows = [
        [name, "; ".join(f"{v} (n={n})" if len(found) > 1 else v for v, n in found.items())]
        for name, found in machines.items()
    ]
    if not rows:
        return Section("Environment", "No run says where it was made.", closed=True)
    return Section("Environment", tables=[Table("machine and code", ["what", "found"], rows, 2)], closed=True)


def runs(findings: Findings) -> Section:
    """List every run."""
    metric = findings.question.metric
    keys = [*findings.question.by, *findings.apart, "seed"]
    rows = [
        [
            run["run"],
            *(format_value(lookup(run, key)) for key in keys),
            format_number(get_metric(run, metric)),
            f"{run['cost']['epochs']:.3g}",
            format_duration(run["cost"]["seconds"]),
        ]
        for run in findings.runs
    ]
    table = Table("every run behind this page", ["run", *keys, metric, "epochs", "time"], rows, len(keys) + 1)
    return Section("Runs", tables=[table], closed=True)
