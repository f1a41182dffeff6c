"""The continuous part of an input, which can be perturbed: pixels, samples, values, numeric cells. Words have none."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from mmrun.types import Batch, Input

# The name of the part of an input; "": the input itself
PARTS = {"image": "", "video": "", "audio": "waveform", "tabular": "numeric", "series": "values", "points": "points"}
RANGES = {"image": (0.0, 1.0), "video": (0.0, 1.0), "audio": (-1.0, 1.0)}  # the other kinds are unbounded


def get_continuous_parts(batch: Batch, kinds: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the continuous part of each modality's input, by modality.

    Args:
        batch: whose inputs are read.
        kinds: kind of each modality; those without a continuous part are left out.
    """
    return {m: _part(kind, batch.inputs[m]) for m, kind in kinds.items() if kind in PARTS}


def perturb(batch: Batch, kinds: Mapping[str, str], perturbations: Mapping[str, Tensor]) -> Batch:
    """Return the batch with perturbations added to the continuous parts of its inputs.

    Values are clamped to the range of their kind. Padding, missing cells and missing modalities do not change.

    Args:
        batch: is not changed itself.
        kinds: kind of each modality.
        perturbations: by modality, shaped as its continuous part.
    """
    inputs = dict(batch.inputs)
    for modality, perturbation in perturbations.items():
        kind, x = kinds[modality], inputs[modality]
        clean = _part(kind, x)
        perturbed = clean + perturbation.where(_real(kind, x, batch.present[modality]), 0)
        if kind in RANGES:
            low, high = RANGES[kind]
            perturbed = perturbed.clamp(low, high)
        inputs[modality] = {**x, PARTS[kind]: perturbed} if isinstance(x, dict) else perturbed
    return batch._replace(inputs=inputs)


def add_noise(batch: Batch, kinds: Mapping[str, str], noise: Mapping[str, float]) -> Batch:
    """Return the batch with white noise added to the continuous parts of its inputs.

    Args:
        batch: is not changed itself.
        kinds: kind of each modality.
        noise: standard deviation by kind; kinds that are left out get no noise.
    """
    perturbations = {}
    for modality, part in get_continuous_parts(batch, kinds).items():
        if kinds[modality] in noise:
            perturbations[modality] = noise[kinds[modality]] * torch.randn_like(part)
    return perturb(batch, kinds, perturbations)


def _part(kind: str, x: Input) -> Tensor:
    return x[PARTS[kind]] if isinstance(x, dict) else x


def _real(kind: str, x: Input, present: Tensor) -> Tensor:
    """Return which values of a part are real, broadcastable to it."""
    rows = present.view(-1, *[1] * (_part(kind, x).dim() - 1))
    if kind in ("image", "video"):
        return rows
    parts = cast(dict[str, Tensor], x)
    if kind == "audio":
        samples = torch.arange(parts["waveform"].shape[-1], device=present.device)
        return rows & (samples < parts["length"].unsqueeze(-1))
    return rows & (~parts["missing"] if kind == "tabular" else parts["mask"].unsqueeze(1))
