"""Rows whose partial information decomposition (Williams & Beer, 2010) is known, so that methods can be held to it."""

import hashlib
import json
from string import ascii_lowercase

import numpy as np

from mmrun.data.split import make_split
from mmrun.data.table import Column, Table, Target
from mmrun.errors import ConfigError

REVISION = 1  # of what the arguments mean; counts in the fingerprint


def synthetic(
    num_rows: int = 4000,
    redundancy: float = 0.25,
    uniqueness: float = 0.5,
    synergy: float = 0.25,
    num_modalities: int = 2,
    num_features: int = 8,
    noise: float = 0.0,
    data_seed: int = 0,
    kinds: dict[str, str] | None = None,
) -> Table:
    """Return rows of two classes whose modalities a, b, c ... carry the class in a known way, the row's mechanism.

    A mechanism is drawn for each row with the given shares, and each modality's columns name it:
    redundant: the sign of every modality's first number tells the class; unique to k: only the sign of k's does, the
    others' are random (the share is divided evenly); synergy: the product of all signs tells it, fewer tell nothing.
    A share `noise` of the labels is turned over. The other numbers of a modality mean nothing.
    """
    _check(num_rows, redundancy, uniqueness, synergy, num_modalities, num_features, noise)
    modalities = list(ascii_lowercase[:num_modalities])
    if kinds is not None and kinds != dict.fromkeys(modalities, "tabular"):
        wanted = ", ".join(f"{modality}: tabular" for modality in modalities)
        raise ConfigError(f"dataset.kinds: {kinds}, but num_modalities={num_modalities} makes {{{wanted}}}; say so")
    rng = np.random.default_rng(data_seed)
    mechanisms = ["redundant", *(f"unique_{modality}" for modality in modalities), "synergy"]
    shares = [redundancy, *[uniqueness / num_modalities] * num_modalities, synergy]
    mechanism = rng.choice(len(mechanisms), size=num_rows, p=np.array(shares) / sum(shares))
    sign = rng.choice([-1, 1], size=num_rows)  # of the class, before noise
    signs = rng.choice([-1, 1], size=(num_rows, num_modalities))
    signs[mechanism == 0] = sign[mechanism == 0, None]
    for k in range(num_modalities):
        signs[mechanism == 1 + k, k] = sign[mechanism == 1 + k]
    synergetic = mechanism == len(mechanisms) - 1
    sign[synergetic] = signs[synergetic].prod(axis=1)
    features = rng.standard_normal((num_rows, num_modalities, num_features))
    features[:, :, 0] = signs * (0.5 + np.abs(features[:, :, 0]))
    label = np.where(rng.random(num_rows) < noise, -sign, sign)
    one_hot = np.eye(len(mechanisms))[mechanism]
    names = [*mechanisms, "signal", *(f"noise_{i}" for i in range(1, num_features))]
    columns = {}
    for k, modality in enumerate(modalities):
        cells = np.concatenate([one_hot, features[:, k]], axis=1).tolist()
        columns[modality] = Column("tabular", [dict(zip(names, row, strict=True)) for row in cells])
    classes = (label > 0).astype(np.int64)
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
    num_modalities: int = 2,
    noise: float = 0.0,
) -> float:
    """Return the best accuracy that any method can reach when it sees only the given modalities."""
    seen = len(present)
    told = redundancy * (seen > 0) + uniqueness * seen / num_modalities + synergy * (seen == num_modalities)
    best = told + 0.5 * (1 - told)
    return best * (1 - noise) + (1 - best) * noise


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
        given = f"redundancy={redundancy}, uniqueness={uniqueness}, synergy={synergy}"
        raise ConfigError(f"dataset: {given}; they are shares that sum to 1")
    for name, value, least, most in (
        ("num_rows", num_rows, 3, float("inf")),
        ("num_modalities", num_modalities, 1, len(ascii_lowercase)),
        ("num_features", num_features, 1, float("inf")),
        ("noise", noise, 0, 0.5),
    ):
        if not least <= value <= most:
            raise ConfigError(f"dataset.{name}: {value}; it lies between {least} and {most}")
