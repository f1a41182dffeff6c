"""Checks how rows are distributed: sizes of splits, rare classes, and modalities that are missing in some rows only."""

from collections.abc import Iterator, Mapping

import numpy as np

from mmrun.data.checks.finding import Finding
from mmrun.data.names import join_names
from mmrun.data.table import CLASSES, SPLITS, Table, Target

MIN_ROWS = 10  # of a split; metrics of fewer are unreliable
MIN_CLASS_ROWS = 5  # training rows of a class
MAX_IMBALANCE = 20  # training rows of the most frequent class for one of the rarest
MAX_MISSING = 0.5  # share of all rows
MIN_GAP = 0.2  # between shares of missing rows, to be worth a warning
MAX_CHANCE = 1e-3  # probability of such a gap by chance
MAX_NAMED = 5  # classes in a message


def check_splits(table: Table) -> list[Finding]:
    """Report splits without rows or with few of them.

    Args:
        table: the data set.
    """
    findings = []
    for split in SPLITS:
        count = len(table.rows(split))
        if count == 0:
            findings.append(Finding("split", f"{split}: 0 rows", "a run needs at least one", "error"))
        elif count < MIN_ROWS:
            findings.append(Finding("split", f"{split}: {count} rows are too few for reliable metrics", "add rows"))
    return findings


def check_classes(name: str, counts: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Report classes or labels that are rare, or absent from a split.

    Args:
        name: of the target.
        counts: rows by class, by split.
    """
    train = counts["train"]
    unseen = [label for label, count in train.items() if count == 0]
    findings = [Finding("classes", f"{name}: no training row is '{label}'", "add rows of it") for label in unseen]
    rare = [f"'{label}' ({count})" for label, count in train.items() if 0 < count < MIN_CLASS_ROWS]
    if rare:
        message = f"{name}: fewer than {MIN_CLASS_ROWS} training rows are {join_names(rare, MAX_NAMED)}"
        findings.append(Finding("classes", message, "add rows, or merge classes"))
    for split in ("val", "test"):
        absent = [f"'{label}'" for label, count in counts[split].items() if count == 0 and train[label]]
        if absent and sum(counts[split].values()):
            message = f"{name}: no row of {split} is {join_names(absent, MAX_NAMED)}"
            findings.append(Finding("classes", message, "metrics say nothing about such classes; move rows there"))
    seen = {label: count for label, count in train.items() if count}
    if len(seen) > 1 and max(seen.values()) > MAX_IMBALANCE * min(seen.values()):
        most, least = max(seen, key=seen.__getitem__), min(seen, key=seen.__getitem__)
        message = f"{name}: {seen[most]} training rows are '{most}', {seen[least]} '{least}'"
        findings.append(Finding("classes", message, "accuracy hides rare classes; look at f1_macro"))
    return findings


def check_missing(table: Table, name: str) -> list[Finding]:
    """Report a modality that is missing in most rows, more often in one split, or in rows of one class.

    Args:
        table: the data set.
        name: of the modality.
    """
    is_missing = ~table.columns[name].is_present()
    if not is_missing.any():
        return []
    shares = share_missing(table, name)
    if shares.get("train") == 1:
        remedy = "leave it out, or fill some of them"
        return [Finding("missing", f"{name}: missing in all training rows", remedy, "error")]
    findings = []
    if is_missing.mean() > MAX_MISSING:
        findings.append(Finding("missing", f"{name}: missing in {is_missing.mean():.0%} of the rows"))
    for split in ("val", "test"):
        counts = [_count(is_missing, table.split == part) for part in ("train", split)]
        if split in shares and _differ(np.array(counts)):
            message = f"{name}: missing in {shares[split]:.0%} of {split}, in {shares['train']:.0%} of training"
            findings.append(Finding("missing", message, "`mmrun eval` shows what that costs"))
    for target_name, target in table.targets.items():
        findings += _check_missing_by_class(name, is_missing & (table.split == "train"), target_name, target, table)
    return findings


def share_missing(table: Table, name: str) -> dict[str, float]:
    """Return the share of rows without a modality, by split that has rows.

    Args:
        table: the data set.
        name: of the modality.
    """
    is_missing = ~table.columns[name].is_present()
    rows = {split: table.rows(split) for split in SPLITS}
    return {split: float(is_missing[numbers].mean()) for split, numbers in rows.items() if len(numbers)}


def _check_missing_by_class(
    name: str, is_missing: np.ndarray, target_name: str, target: Target, table: Table
) -> Iterator[Finding]:
    """Report if being missing predicts the class, so that a model may learn that instead."""
    if target.task not in CLASSES:
        return
    is_training = (table.split == "train") & (target.values >= 0)
    classes = [number for number in range(len(target.names)) if (is_training & (target.values == number)).any()]
    counts = np.array([_count(is_missing, is_training & (target.values == number)) for number in classes])
    if len(classes) > 1 and _differ(counts):
        shares = counts[:, 0] / counts.sum(axis=1)
        most, least = int(shares.argmax()), int(shares.argmin())
        message = (
            f"{name}: missing in {shares[most]:.0%} of the training rows of {target_name} "
            f"'{target.names[classes[most]]}', in {shares[least]:.0%} of '{target.names[classes[least]]}'"
        )
        yield Finding("missing", message, "a model can tell the class from what is missing; find out why")


def _count(is_missing: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return how many of some rows are missing, and how many are not."""
    num_missing = int(is_missing[rows].sum())
    return [num_missing, int(rows.sum()) - num_missing]


def _differ(counts: np.ndarray) -> bool:
    """Return whether shares of missing rows differ more than by chance (chi-squared), and enough to matter.

    Args:
        counts: missing and other rows of each class or split [K, 2].
    """
    from scipy.stats import chi2_contingency

    totals = counts.sum(axis=1)
    if (totals == 0).any() or (counts.sum(axis=0) == 0).any():
        return False
    shares = counts[:, 0] / totals
    return bool(np.ptp(shares) >= MIN_GAP and chi2_contingency(counts).pvalue < MAX_CHANCE)
