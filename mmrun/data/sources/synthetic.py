"""Rows with a known partial information decomposition (Williams & Beer, 2010), against which methods can be checked."""

import hashlib
import json
from string import ascii_lowercase
from typing import Annotated

import numpy as np

from mmrun.data.split import make_split
from mmrun.data.table import Column, Table, Target
from mmrun.errors import ConfigError
from mmrun.values import NonNegativeInt, PositiveInt, Range, Share, Width

REVISION = 1  # of what the arguments mean; enters the fingerprint


def synthetic(
    num_rows: PositiveInt = 4000,
    redundancy: Share = 0.25,
    uniqueness: Share = 0.5,
    synergy: Share = 0.25,
    num_modalities: PositiveInt = 2,
    num_features: Width = 8,
    noise: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0,
    data_seed: NonNegativeInt = 0,
    kinds: dict[str, str] | None = None,
) -> Table:
    """Return rows of two classes whose tabular modalities a, b, c ... determine the class in a known way.

    Each row has a mechanism, which all its modalities name in one-hot columns. The first number of a modality, its
    signal, has a sign. Redundant: every sign is that of the class. Unique to k: the sign of k alone is, the others are
    random. Synergy: the product of all signs is, and fewer of them are independent of the class.

    Args:
        num_rows: N.
        redundancy: share of redundant rows.
        uniqueness: share of unique rows, divided evenly over the modalities.
        synergy: share of synergetic rows; the three shares sum to 1.
        num_modalities: 1 to 26.
        num_features: numbers per modality; all but the first are noise.
        noise: share of the labels that are flipped, 0 to 0.5.
        data_seed: of the rows and of the split.
        kinds: has to be tabular for each modality; for the config.

    Raises:
        ConfigError: an argument is out of range.
    """
    _check(num_rows, redundancy, uniqueness, synergy, num_modalities, num_features, noise)
    modalities = list(ascii_lowercase[:num_modalities])
    _check_kinds(kinds, modalities)
    shares = [redundancy, *[uniqueness / num_modalities] * num_modalities, synergy]
    columns, classes = _draw_rows(num_rows, modalities, shares, num_features, noise, data_seed)
    recipe = [num_rows, redundancy, uniqueness, synergy, num_modalities, num_features, noise, data_seed]
    return Table(
        ids=[f"row-{row}" for row in range(num_rows)],
        columns=columns,
        targets={"label": Target("classification", classes, ["0", "1"])},
        split=make_split(num_rows, data_seed, classes),
        fingerprint=hashlib.sha256(json.dumps(["synthetic", REVISION, *recipe]).encode()).hexdigest(),
    )


def expected_accuracy(
    present: set[str],
    redundancy: float,
    uniqueness: float,
    synergy: float,
    num_modalities: PositiveInt = 2,
    noise: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0,
) -> float:
    """Return the accuracy of the Bayes-optimal classifier that sees only the present modalities.

    Args:
        present: names of the modalities.
        redundancy: this and all further arguments are those of `synthetic`.
    """
    num_present = len(present)
    unique = uniqueness * num_present / num_modalities
    determined = redundancy * (num_present > 0) + unique + synergy * (num_present == num_modalities)
    accuracy = determined + 0.5 * (1 - determined)  # the class of the other rows is guessed
    return accuracy * (1 - noise) + (1 - accuracy) * noise


def _draw_rows(
    num_rows: int, modalities: list[str], shares: list[float], num_features: int, noise: float, seed: int
) -> tuple[dict[str, Column], np.ndarray]:
    """Return the columns by modality, and the classes [N] int64."""
    rng = np.random.default_rng(seed)
    num_modalities = len(modalities)
    mechanism = rng.choice(len(shares), size=num_rows, p=np.array(shares) / sum(shares))
    sign = rng.choice([-1, 1], size=num_rows)  # of the class, before noise
    signs = rng.choice([-1, 1], size=(num_rows, num_modalities))
    signs[mechanism == 0] = sign[mechanism == 0, None]
    for k in range(num_modalities):
        signs[mechanism == 1 + k, k] = sign[mechanism == 1 + k]
    is_synergetic = mechanism == len(shares) - 1
    sign[is_synergetic] = signs[is_synergetic].prod(axis=1)
    features = rng.standard_normal((num_rows, num_modalities, num_features))
    features[:, :, 0] = signs * (0.5 + np.abs(features[:, :, 0]))
    label = np.where(rng.random(num_rows) < noise, -sign, sign)
    one_hot = np.eye(len(shares))[mechanism]
    names = ["redundant", *(f"unique_{modality}" for modality in modalities), "synergy"]
    names += ["signal", *(f"noise_{i}" for i in range(1, num_features))]
    columns = {}
    for k, modality in enumerate(modalities):
        cells = np.concatenate([one_hot, features[:, k]], axis=1).tolist()
        columns[modality] = Column("tabular", [dict(zip(names, row, strict=True)) for row in cells])
    return columns, (label > 0).astype(np.int64)


def _check_kinds(kinds: dict[str, str] | None, modalities: list[str]) -> None:
    if kinds is not None and kinds != dict.fromkeys(modalities, "tabular"):
        expected = ", ".join(f"{modality}: tabular" for modality in modalities)
        raise ConfigError(
            f"dataset.kinds: {kinds}, but num_modalities={len(modalities)} makes {{{expected}}}; set it to that"
        )


def _check(
    num_rows: int,
    redundancy: float,
    uniqueness: float,
    synergy: float,
    num_modalities: int,
    num_features: int,
    noise: float,
) -> None:
    if abs(redundancy + uniqueness + synergy - 1) > 1e-6 or min(redundancy, uniqueness, synergy) < 0:
        shares = f"redundancy={redundancy}, uniqueness={uniqueness}, synergy={synergy}"
        raise ConfigError(f"dataset: {shares}; they must be shares that sum to 1")
    for name, value, low, high in (
        ("num_rows", num_rows, 3, float("inf")),
        ("num_modalities", num_modalities, 1, len(ascii_lowercase)),
        ("num_features", num_features, 1, float("inf")),
        ("noise", noise, 0, 0.5),
    ):
        if not low <= value <= high:
            raise ConfigError(f"dataset.{name}: {value}; it must lie between {low} and {high}")
