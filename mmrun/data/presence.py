"""Which rows lack a modality: shares by split, patterns, and what a run can learn from them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from mmrun.data.table import SPLITS, Table
from mmrun.errors import DataError

MissingShares = dict[str, dict[str, float]]  # by modality and split, 0 to 1


class Pattern(NamedTuple):
    """Rows that have the same modalities.

    Attributes:
        modalities: that the rows have.
        places: of these rows among all, [n].
    """

    modalities: list[str]
    places: np.ndarray


def measure_missing(present: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> MissingShares:
    """Return the share of rows without each modality, of the modalities that some row lacks.

    Args:
        present: by modality, [N] bool.
        rows: by split, row numbers [n].
    """
    shares: MissingShares = {}
    for modality, mask in present.items():
        split_shares = {}
        for split, numbers in rows.items():
            split_shares[split] = float(1 - mask[numbers].mean()) if len(numbers) else 0.0
        if any(split_shares.values()):
            shares[modality] = split_shares
    return shares


def describe_missing(table: Table, modalities: Iterable[str]) -> list[str]:
    """Return a line about each modality that some rows lack, with its shares by split.

    Args:
        table: with its raw columns.
        modalities: that the run reads.

    Raises:
        DataError: a modality is missing in every training row.
    """
    present = {modality: table.columns[modality].is_present() for modality in modalities}
    shares = measure_missing(present, {split: table.rows(split) for split in SPLITS})
    lines = []
    for modality, split_shares in shares.items():
        if split_shares["train"] == 1:
            others = ",".join(name for name in present if name != modality)
            remedy = f"leave it out with modalities=[{others}], or " if others else ""
            raise DataError(
                f"dataset: {modality} is missing in every training row, so nothing can be learned from it; {remedy}"
                "put rows that have it into the training split"
            )
        listed = ", ".join(f"{share:.1%} of {split}" for split, share in split_shares.items())
        whole = [split for split, share in split_shares.items() if share == 1]
        suffix = f"; what it contributes cannot be measured on {' and '.join(whole)} rows" if whole else ""
        lines.append(f"{modality}: missing in {listed} rows{suffix}")
    return lines


def list_patterns(present: Mapping[str, np.ndarray]) -> list[Pattern]:
    """Group rows by the modalities that they have, the most frequent pattern first.

    Args:
        present: by modality, [n] bool.
    """
    masks = np.stack(list(present.values()), axis=1)  # [n, M]
    patterns, numbers, counts = np.unique(masks, axis=0, return_inverse=True, return_counts=True)
    listed = []
    for number in np.argsort(-counts, kind="stable"):
        modalities = [modality for modality, has_it in zip(present, patterns[number], strict=True) if has_it]
        listed.append(Pattern(modalities, np.flatnonzero(numbers.reshape(-1) == number)))
    return listed


def find_complete_rows(table: Table, modalities: Iterable[str], rows: np.ndarray) -> np.ndarray:
    """Return the rows that have every modality.

    Args:
        table: with its raw columns.
        modalities: that they have to have.
        rows: row numbers [n].

    Raises:
        DataError: there is none.
    """
    is_complete = np.all([table.columns[modality].is_present()[rows] for modality in modalities], axis=0)
    if not is_complete.any():
        raise DataError(
            "missing=drop: every training row lacks a modality; choose absent, zero, mean, token or generate"
        )
    return rows[is_complete]
