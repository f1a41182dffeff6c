"""Audits a data set before training: what it holds, which rows cannot be used, and what is suspicious."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from mmrun.data.checks.balance import check_classes, check_missing, check_splits, share_missing
from mmrun.data.checks.contents import number_contents
from mmrun.data.checks.duplicates import find_repeated_rows, find_shared_values
from mmrun.data.checks.finding import Finding, collect_rows, split_remedy
from mmrun.data.checks.giveaways import find_giveaways
from mmrun.data.checks.groups import find_leaking_groups
from mmrun.data.checks.inspections import INSPECTIONS, ModalityAudit, Range, summarize
from mmrun.data.checks.labels import MAX_JUDGED, find_unlikely_labels
from mmrun.data.checks.similarity import cluster_rows
from mmrun.data.checks.table_columns import repeats_by_chance
from mmrun.data.packed import Records
from mmrun.data.split import count_labels, has_target
from mmrun.data.table import SPLITS, Column, Table, Target

MAX_COMPARED = 100_000  # rows of a modality that is not read from files


class TargetAudit(TypedDict, total=False):
    """What was seen of a target: `numbers` of a regression or else `counts`, by split.

    `hidden` is the number of training rows without a target; `counts` are rows by class or label.
    """

    task: str
    hidden: int
    numbers: dict[str, Range | None]
    counts: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        rows: number by split.
        modalities: what was seen, by modality.
        targets: what was seen, by target.
        findings: what is wrong, or may be; errors first.
        notes: what was inferred and why, what encoders are shown, and what was not looked at; one line each.
    """

    rows: dict[str, int]
    modalities: dict[str, ModalityAudit]
    targets: dict[str, TargetAudit]
    findings: list[Finding]
    notes: list[str]


def audit(
    table: Table,
    sample_size: int | None = 1000,
    judges_labels: bool = True,
    group_cells: Mapping[str, Sequence[object]] | None = None,
) -> Audit:
    """Audit a data set.

    Args:
        table: the data set; all its cells are checked.
        sample_size: number of rows of each modality whose files are decoded; None: all.
        judges_labels: whether to look for labels that are probably wrong.
        group_cells: of columns of the user's file that may be groups, by name [N]; None: cells that modalities read.
    """
    notes = list(table.notes)
    findings = _list_skipped(table)
    order = np.random.default_rng(0).permutation(len(table.split))  # the same rows of all modalities are read
    modalities: dict[str, ModalityAudit] = {}
    contents, clusters, features = {}, {}, {}
    for name, column in table.columns.items():
        present = column.is_present()
        rows = _choose_rows(column, order[present[order]], sample_size)
        inspection = INSPECTIONS[column.kind](table, name, column, rows)
        missing = {"missing": float(1 - present.mean()), "missing_by_split": share_missing(table, name)}
        modalities[name] = {"kind": column.kind, "looked_at": len(rows), **missing, **inspection.facts}  # type: ignore[typeddict-item]
        findings += [*inspection.findings, *check_missing(table, name)]
        contents[name] = number_contents(column)
        clusters[name] = cluster_rows(contents[name], inspection.pairs)
        if inspection.features is not None:
            features[name] = inspection.features
        if len(rows) < present.sum():
            notes.append(f"{name}: {len(rows):,} of {present.sum():,} rows were read and compared; --all reads all")
    findings += [split_remedy("cells", warning) for warning in table.warnings]
    findings += _find_repetitions(table, contents, clusters, notes)
    findings += find_leaking_groups(table, _list_cells(table) if group_cells is None else group_cells)
    findings += [split_remedy("giveaway", line) for line in find_giveaways(table)]
    findings += check_splits(table)
    targets: dict[str, TargetAudit] = {}
    for name, target in table.targets.items():
        targets[name] = _audit_target(table, target)
        if "counts" in targets[name]:
            findings += check_classes(name, targets[name]["counts"])
    if judges_labels:
        findings += find_unlikely_labels(table, features, notes, None if sample_size is None else MAX_JUDGED)
    findings.sort(key=lambda finding: finding.level != "error")  # stable
    counts = {split: len(table.rows(split)) for split in SPLITS}
    return Audit(counts, modalities, targets, findings, notes)


def _list_skipped(table: Table) -> list[Finding]:
    """Return the rows that were left out when the table was opened."""
    if not table.skipped:
        return []
    remedy = "correct them, or set on_error=skip"
    return [Finding("unreadable", "rows that cannot be used", remedy, "error", where=table.skipped)]


def _choose_rows(column: Column, rows: np.ndarray, sample_size: int | None) -> np.ndarray:
    """Return the rows to read, ascending.

    Args:
        column: of the modality.
        rows: that are present, in random order.
        sample_size: how many are read of a modality that lies in files; None: all.
    """
    limit = sample_size if column.from_files else MAX_COMPARED
    return np.sort(rows[:limit])


def _find_repetitions(
    table: Table, contents: Mapping[str, np.ndarray], clusters: Mapping[str, np.ndarray], notes: list[str]
) -> list[Finding]:
    usual = []
    for name, column in table.columns.items():
        if column.kind == "tabular" and repeats_by_chance(Records.from_rows(column.values), contents[name]):
            usual.append(name)
            notes.append(f"{name}: rows have the same cells about as often as by chance, so this is not reported")
    unusual = [name for name in table.columns if name not in usual]
    findings = find_repeated_rows(table, contents, clusters, notes) if unusual else []
    reported = collect_rows(findings)
    for name in unusual:
        findings += find_shared_values(table, name, contents[name], clusters[name], reported)
    return findings


def _list_cells(table: Table) -> dict[str, Sequence[object]]:
    """Return the columns of all tabular modalities."""
    cells: dict[str, Sequence[object]] = {}
    for column in table.columns.values():
        if column.kind == "tabular":
            cells |= Records.from_rows(column.values).columns
    return cells


# -------------------------------------------------------------------------------------------------------------- targets


def _audit_target(table: Table, target: Target) -> TargetAudit:
    is_visible = has_target(target)
    num_hidden = int((~is_visible & (table.split == "train")).sum())
    if target.task == "regression":
        numbers = target.values.reshape(len(target.values), -1)
        ranges = {}
        for split in SPLITS:
            ranges[split] = summarize(numbers[is_visible & (table.split == split)].ravel().tolist())
        return {"task": target.task, "hidden": num_hidden, "numbers": ranges}
    counts = {}
    for split, label_counts in count_labels(target, table.split, SPLITS).items():
        counts[split] = dict(zip(target.names, label_counts.tolist(), strict=True))
    return {"task": target.task, "hidden": num_hidden, "counts": counts}
