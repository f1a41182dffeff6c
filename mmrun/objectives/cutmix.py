"""CutMix: learn from images a part of which belongs to another row."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.augmentations.image import draw_rectangles
from mmrun.objectives.mixup import draw_beta
from mmrun.objectives.task import Supervised
from mmrun.types import ITEMS, Batch, Input, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import PositiveFloat, Share


class CutMix(Objective):
    """CutMix (Yun et al., 2019): a rectangle of each image shows that of a partner, and so does its share of the loss.

    Of a row with several modalities only the images are cut; all others stay, though the target is mixed by the area.
    The rectangle is the same in all rows and images of a batch. Rows are left as they are where they or their partner
    lack an image, or have different numbers of images. Validation uses whole rows. Partners are rows of the same
    micro-batch.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        alpha: the share of the row itself is drawn from Beta(alpha, alpha).
        probability: of a batch to be cut.

    Raises:
        ConfigError: no modality is an image.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        alpha: PositiveFloat = 1.0,
        probability: Share = 0.5,
    ) -> None:
        super().__init__()
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.alpha, self.probability = alpha, probability
        self.images = [modality for modality, kind in kinds.items() if kind == "image"]
        if not self.images:
            names = ", ".join(f"{modality} ({kind})" for modality, kind in kinds.items())
            raise ConfigError(f"objective: CutMix needs an image, and the stage reads {names}; choose mixup")

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses on cut images: the mean of those to both targets, weighed by their shares of the area.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        device = batch.index.device
        partner = torch.rand(len(batch.index), device=device).argsort()
        is_cut = torch.ones_like(batch.index, dtype=torch.bool)
        for modality in self.images:
            is_cut = is_cut & batch.present[modality] & batch.present[modality][partner]
            image = batch.inputs[modality]
            if isinstance(image, dict):  # of several in a row: no padding is pasted, and none is cut
                is_cut = is_cut & (image[ITEMS] == image[ITEMS][partner]).all(dim=1)
        inputs, own_share = self._cut(batch.inputs, partner, is_cut)
        outputs = self.task.predict(model, self.task.encode(model, inputs), batch.present)
        first = self.task.compute_losses(outputs, batch)
        targets = {}
        for name, target in batch.targets.items():
            targets[name] = target[partner].where(is_cut.view(-1, *[1] * (target.dim() - 1)), target)
        second = self.task.compute_losses(outputs, batch._replace(targets=targets))
        return {name: torch.lerp(second[name], loss, own_share) for name, loss in first.items()}

    def _cut(self, inputs: Mapping[str, Input], partner: Tensor, is_cut: Tensor) -> tuple[dict[str, Input], Tensor]:
        """Return the inputs with the rectangle of the partners, and the share of the area that is a row's own."""
        device = partner.device
        lam = draw_beta(self.alpha, device).view(1)
        side = (1 - lam).sqrt() * (torch.rand(1, device=device) < self.probability)
        center_x, center_y = torch.rand(2, 1, device=device)
        cut, shares = dict(inputs), []
        for modality in self.images:
            x = inputs[modality]
            image = x[""] if isinstance(x, dict) else x  # [B, ..., C, H, W]
            rectangle = draw_rectangles(center_x, center_y, side, side, (image.shape[-2], image.shape[-1]))
            mixed = torch.where(rectangle & is_cut.view(-1, *[1] * (image.dim() - 1)), image[partner], image)
            cut[modality] = {**x, "": mixed} if isinstance(x, dict) else mixed
            shares.append(1 - rectangle.float().mean())
        return cut, torch.stack(shares).mean()
