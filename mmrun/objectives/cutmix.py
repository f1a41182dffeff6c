"""CutMix: learn from images a part of which belongs to another row."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.augmentations.image import draw_rectangles
from mmrun.objectives.mixup import Mixture, draw_beta, group_modalities, mix_losses
from mmrun.objectives.synthetic_rows import SyntheticRows
from mmrun.objectives.task import Supervised, choose_modalities
from mmrun.types import ITEMS, Batch, Input, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import PositiveFloat, Share

KINDS = ("image", "video")  # what has a rectangle to cut


class CutMix(Objective):
    """CutMix (Yun et al., 2019): a rectangle of each image shows that of a partner, and so does its share of the loss.

    In a video, the rectangle is the same in all frames. Other modalities stay the row's own, though the target is mixed
    by the area. Rows are left as they are where they or their partner lack an image, or have
    different numbers of images. Validation uses whole rows. Partners are rows of the same micro-batch.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        alpha: the share of the row itself is drawn from Beta(alpha, alpha).
        probability: of a batch to be cut.
        modalities: images and videos to cut; None: all that the stage reads.
        joint: rectangle and partners are the same for all of them; otherwise each has its own, and the loss is the mean
            over them.

    Raises:
        ConfigError: no modality is an image or a video, or one of `modalities` is neither.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        alpha: PositiveFloat = 1.0,
        probability: Share = 0.5,
        modalities: Sequence[str] | None = None,
        joint: bool = True,
    ) -> None:
        super().__init__()
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.alpha, self.probability = alpha, probability
        chosen = choose_modalities(modalities, kinds)
        pictures = [modality for modality in chosen if kinds[modality] in KINDS]
        if not pictures:
            names = ", ".join(f"{modality} ({kind})" for modality, kind in kinds.items())
            raise ConfigError(f"objective: CutMix needs an image or a video, and the stage reads {names}; choose mixup")
        if modalities is not None and len(pictures) < len(chosen):
            others = [f"{modality} ({kinds[modality]})" for modality in chosen if modality not in pictures]
            raise ConfigError(f"objective.modalities: CutMix cuts images and videos, not {', '.join(others)}")
        self.groups = group_modalities(pictures, joint)
        self.synthetic = SyntheticRows()

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses on cut images: the mean of those to both targets, weighed by their shares of the area.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        inputs, mixtures = dict(batch.inputs), []
        is_mixed = torch.zeros_like(batch.index, dtype=torch.bool)
        for group in self.groups:
            partner = torch.rand(len(batch.index), device=batch.index.device).argsort()
            is_cut = _find_rows_to_cut(batch, group, partner)
            cut, own_share = self._cut({modality: batch.inputs[modality] for modality in group}, partner, is_cut)
            inputs |= cut
            targets = {}
            for name, target in batch.targets.items():
                targets[name] = target[partner].where(is_cut.view(-1, *[1] * (target.dim() - 1)), target)
            mixtures.append(Mixture(targets, own_share))
            is_mixed |= is_cut & (batch.index[partner] != batch.index) & (own_share < 1)
        self.synthetic.add(is_mixed)
        outputs = self.task.predict(model, self.task.encode(model, inputs), batch.present)
        return mix_losses(self.task, outputs, batch, mixtures)

    def on_step_end(self, model: nn.Module) -> None:
        """Count the rows that were cut."""
        self.synthetic.end_step()

    def _cut(self, inputs: Mapping[str, Input], partner: Tensor, is_cut: Tensor) -> tuple[dict[str, Input], Tensor]:
        """Return the inputs with the rectangle of the partners, and the share of the area that is a row's own."""
        device = partner.device
        lam = draw_beta(self.alpha, device).view(1)
        side = (1 - lam).sqrt() * (torch.rand(1, device=device) < self.probability)
        center_x, center_y = torch.rand(2, 1, device=device)
        cut: dict[str, Input] = {}
        shares = []
        for modality, x in inputs.items():
            image = x[""] if isinstance(x, dict) else x  # [B, ..., C, H, W]
            rectangle = draw_rectangles(center_x, center_y, side, side, (image.shape[-2], image.shape[-1]))
            mixed = torch.where(rectangle & is_cut.view(-1, *[1] * (image.dim() - 1)), image[partner], image)
            cut[modality] = {**x, "": mixed} if isinstance(x, dict) else mixed
            shares.append(1 - rectangle.float().mean())
        return cut, torch.stack(shares).mean()


def _find_rows_to_cut(batch: Batch, modalities: Sequence[str], partner: Tensor) -> Tensor:
    """Return which rows have the same images as their partner, [B] bool: no padding is pasted, and none is cut."""
    is_cut = torch.ones_like(batch.index, dtype=torch.bool)
    for modality in modalities:
        is_cut = is_cut & batch.present[modality] & batch.present[modality][partner]
        image = batch.inputs[modality]
        if isinstance(image, dict):  # of several in a row
            is_cut = is_cut & (image[ITEMS] == image[ITEMS][partner]).all(dim=1)
    return is_cut
