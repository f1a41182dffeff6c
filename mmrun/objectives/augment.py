"""Augmentation: each modality is changed at random as its kind allows, differently in each batch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.items import map_items
from mmrun.models.multimodal import Multimodal
from mmrun.types import Augmentation, Batch, Input, Objective

Build = Callable[..., Augmentation]


class Augmentations(nn.Module):
    """Changes the inputs of a batch at random; modalities without an augmentation, and missing rows, keep theirs.

    Args:
        kinds: kind of each modality.
        metadata: by modality, the arguments that its preprocessor offers to augmentations.
        image: builds the augmentation of images; None: they are not augmented.
        text: likewise of texts.
        audio: likewise of sounds.
        tabular: likewise of tables.
        series: likewise of series.
        points: likewise of point clouds.
        video: likewise of videos.
        by_modality: builds the augmentation of single modalities, in place of that of their kind.

    Raises:
        ConfigError: an augmentation is of another kind than its modality.
    """

    def __init__(
        self,
        kinds: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]],
        image: Build | None = None,
        text: Build | None = None,
        audio: Build | None = None,
        tabular: Build | None = None,
        series: Build | None = None,
        points: Build | None = None,
        video: Build | None = None,
        by_modality: Mapping[str, Build | None] | None = None,
    ) -> None:
        super().__init__()
        by_kind = {
            "image": image,
            "text": text,
            "audio": audio,
            "tabular": tabular,
            "series": series,
            "video": video,
            "points": points,
        }
        self.modalities: list[str] = []
        self.augmentations = nn.ModuleList()
        for modality, kind in kinds.items():
            chosen = modality in (by_modality or {})
            build = (by_modality or {})[modality] if chosen else by_kind[kind]
            if build is not None:
                key_path = f"augment.by_modality.{modality}" if chosen else f"augment.{kind}"
                self.modalities.append(modality)
                self.augmentations.append(_build(build, kind, metadata[modality], key_path))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with augmented inputs.

        Args:
            batch: is not changed itself.
        """
        augmented: dict[str, Input] = {}
        with torch.autocast(batch.index.device.type, enabled=False):
            for modality, augmentation in zip(self.modalities, self.augmentations, strict=True):
                x = batch.inputs[modality]
                augmented[modality] = _restore_missing(map_items(augmentation, x), x, batch.present[modality])
        return batch._replace(inputs={**batch.inputs, **augmented})


def _build(build: Build, kind: str, metadata: Mapping[str, Any], key_path: str) -> Augmentation:
    augmentation = build(metadata=metadata, **metadata)
    if augmentation.kind != kind:
        raise ConfigError(f"{key_path}: {type(augmentation).__name__} augments {augmentation.kind}, not {kind}")
    return augmentation


def _restore_missing(augmented: Input, original: Input, present: Tensor) -> Input:
    """Return the augmented input where a row has the modality, else the original one."""
    if isinstance(augmented, Tensor):
        assert isinstance(original, Tensor)
        return augmented.where(present.view(-1, *[1] * (original.dim() - 1)), original)
    assert isinstance(original, dict)
    parts = {}
    for name, part in augmented.items():
        unchanged, room = original[name], part.shape[-1] - original[name].shape[-1]
        if room > 0:  # the texts of a batch that was cropped may become longer
            unchanged = F.pad(unchanged, (0, room))
        parts[name] = part.where(present.view(-1, *[1] * (part.dim() - 1)), unchanged)
    return parts


class Chain(Augmentation):
    """Several augmentations of one kind, one after the other.

    Args:
        steps: builds each of them, by a name that overrides use; None: the step is left out.
        metadata: the arguments that the modality's preprocessor offers.

    Raises:
        ConfigError: there is no step, or two are of different kinds.
    """

    def __init__(self, steps: Mapping[str, Build | None], metadata: Mapping[str, Any]) -> None:
        super().__init__()
        builders = [build for build in steps.values() if build is not None]
        augmentations = [build(metadata=metadata, **metadata) for build in builders]
        kinds = sorted({augmentation.kind for augmentation in augmentations})
        if len(kinds) != 1:
            raise ConfigError(f"steps: needs augmentations of one kind, not {', '.join(kinds) or 'none'}")
        self.steps, self.kind = nn.ModuleList(augmentations), kinds[0]

    def forward(self, x: Input) -> Input:
        """Return the input, changed by each step.

        Args:
            x: of the steps' kind.
        """
        for step in self.steps:
            x = step(x)
        return x


class Augment(Objective):
    """The wrapped objective on augmented inputs.

    Everything inside, also a teacher or a balance, sees the same augmented batch. Validation uses the inputs as they
    are.

    Args:
        objective: to wrap.
        augmentation: (batch) -> batch with other inputs, in training.
    """

    def __init__(self, objective: Objective, augmentation: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self.augmentation = augmentation

    def prepare(self, batch: Batch) -> Batch:
        """Augment the inputs, before an objective inside predicts targets from them; see `Objective.prepare`."""
        prepared: Batch = self.augmentation(batch)
        return prepared

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective.

        Args:
            model: to be trained.
            batch: is not changed itself.
        """
        if self.training and batch.weights is None:
            batch = self.prepare(batch)
        losses: dict[str, Tensor] = self.objective(model, batch)
        return losses

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients as the wrapped objective does; see `Objective.backward`."""
        self.objective.backward(model, losses, scale)
