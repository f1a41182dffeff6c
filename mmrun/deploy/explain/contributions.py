"""What each modality contributes to the score of a row: exact Shapley values over all subsets of the modalities."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmrun.deploy.explain.scorer import Scorer
from mmrun.deploy.explain.target import ExplainedTarget
from mmrun.errors import ConfigError
from mmrun.evaluation.contribution import Subset, enumerate_subsets, shapley_values
from mmrun.types import Features

MAX_MODALITIES = 10  # whose 1,024 subsets are scored for each row


class Contributions(NamedTuple):
    """What the modalities contribute to the scores of some rows.

    Attributes:
        scores: of all outputs of the target [B, C].
        explained: number of the output that is explained [B].
        empty_score: of that output without any modality [B].
        shapley: by modality [B]; NaN where a row lacks it. They add up to the explained score less `empty_score`.
        without: explained score without one modality, by modality [B].
    """

    scores: np.ndarray
    explained: np.ndarray
    empty_score: np.ndarray
    shapley: dict[str, np.ndarray]
    without: dict[str, np.ndarray]


def compute_contributions(
    scorer: Scorer, target: ExplainedTarget, features: dict[str, Features], present: dict[str, Tensor]
) -> Contributions:
    """Compute exact Shapley values (Shapley, 1953) of the modalities for the explained output of each row.

    A modality outside a subset is absent, as one that a row lacks is.

    Args:
        scorer: of the target.
        target: chooses the output.
        features: of the modalities.
        present: which rows have them, [B] bool.

    Raises:
        ConfigError: there are more than MAX_MODALITIES.
    """
    modalities = scorer.modalities
    check_modalities(modalities)
    scores = _score_subset(scorer, tuple(modalities), features, present)
    explained = target.choose_outputs(scores)
    rows = np.arange(len(scores))
    values: dict[Subset, np.ndarray] = {}
    for subset in [(), *enumerate_subsets(modalities)]:
        values[subset] = _score_subset(scorer, subset, features, present)[rows, explained].astype(np.float64)
    shapley: dict[str, np.ndarray] = {}
    without: dict[str, np.ndarray] = {}
    for modality, value in shapley_values(values, modalities).items():
        shapley[modality] = np.where(present[modality].cpu().numpy(), value, np.nan)
        without[modality] = values[tuple(name for name in modalities if name != modality)]
    return Contributions(scores, explained, values[()], shapley, without)


def check_modalities(modalities: list[str]) -> None:
    """Raise a ConfigError if there are too many modalities to score all their subsets."""
    if len(modalities) > MAX_MODALITIES:
        raise ConfigError(
            f"{len(modalities)} modalities have {2 ** len(modalities):,} subsets; exact Shapley values are computed "
            f"for at most {MAX_MODALITIES} modalities"
        )


@torch.no_grad()
def _score_subset(
    scorer: Scorer, subset: Subset, features: dict[str, Features], present: dict[str, Tensor]
) -> np.ndarray:
    """Return the scores [B, C] with only some modalities present."""
    presence = {modality: mask if modality in subset else torch.zeros_like(mask) for modality, mask in present.items()}
    return scorer.score(features, presence).cpu().numpy()
