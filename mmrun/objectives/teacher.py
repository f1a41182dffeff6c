"""Models that an objective owns and learns from: one that stays as it is, and one that follows the student."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Features


class TeacherOutputs(NamedTuple):
    """What a teacher says of some rows."""

    features: dict[str, Features]  # by modality
    fused: Tensor  # [B, D]
    outputs: dict[str, Tensor]  # by task, [B, C]


class Teacher(nn.Module):
    """A model in which nothing learns: in eval mode whatever happens around it, and without gradients."""

    def __init__(self, model: Multimodal) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> TeacherOutputs:
        """Return the teacher's outputs for the rows, by the modalities that it reads."""
        features = self.model.encode({modality: batch.inputs[modality] for modality in self.model.encoder})
        fused = self.model.fusion(features, batch.present)
        return TeacherOutputs(features, fused, self.model.head_outputs(fused))


def frozen(model: Multimodal) -> Teacher:
    """Make a teacher of a model as it is now."""
    return Teacher(copy.deepcopy(model))


class EMATeacher(Teacher):
    """A teacher whose weights are a moving average of the student's.

    They are buffers: a checkpoint keeps them, and what looks at a step from aside puts them back.
    """

    def __init__(self, model: Multimodal) -> None:
        super().__init__(copy.deepcopy(model))
        for module in self.model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())

    @torch.no_grad()
    def follow(self, model: Multimodal, share: Tensor) -> None:
        """Go a share of the way to the student's weights; what it counts, such as batch statistics, is taken over."""
        own = dict(self.model.named_buffers())
        for name, weight in model.named_parameters():
            own[name].lerp_(weight, share)
        for name, buffer in model.named_buffers():
            own[name].copy_(buffer)
