"""Scores of one target from the features of any subset of the modalities."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mmrun.data.loader import convert_stored
from mmrun.deploy.predictor import Predictor
from mmrun.types import Batch, Features, Input


@dataclass(frozen=True)
class Scorer:
    """Computes the scores of one target.

    Attributes:
        predictor: of the run.
        task: name of the target.
    """

    predictor: Predictor
    task: str

    @property
    def modalities(self) -> list[str]:
        """The modalities that the run's head reads: all, or that of its probe."""
        modality = self.predictor.head.modality
        return list(self.predictor.modalities) if modality is None else [modality]

    def encode(self, batch: Batch) -> dict[str, Features]:
        """Encode the modalities that the head reads.

        Args:
            batch: with the inputs of all modalities.
        """
        return {modality: self.encode_modality(modality, batch.inputs[modality]) for modality in self.modalities}

    def encode_modality(self, modality: str, x: Input) -> Features:
        """Encode one modality."""
        return self.predictor.model.encode_modality(modality, x)

    def score(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Return the scores of the target: probabilities, or numbers in its unit.

        Args:
            features: of the modalities, in their order.
            present: which rows have them, [B] bool; the others are scored without.

        Returns:
            [B, C].
        """
        modality = self.predictor.head.modality
        if modality is None:
            embedding = self.predictor.model.fusion(features, present)
        else:  # a probe predicts a row without its modality from an input of zeros
            embedding = features[modality].pooled.where(present[modality].unsqueeze(1), self._blank)
        output = self.predictor.apply_head(embedding)[self.task]
        return self.predictor.tasks[self.task].scores(output)

    @cached_property
    def _blank(self) -> Tensor:
        """What the encoder of the probe returns for a row without the modality, [1, D]."""
        [modality] = self.modalities
        parts: dict[str, Tensor] = {}
        for name, part in self.predictor.modalities[modality]["parts"].items():
            zeros = torch.zeros(1, *part["shape"], dtype=getattr(torch, part["dtype"]))
            parts[name] = convert_stored(zeros.to(self.predictor.accelerator.device))
        with torch.no_grad():
            return self.encode_modality(modality, parts[""] if list(parts) == [""] else parts).pooled
