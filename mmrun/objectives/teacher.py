"""Models that an objective owns and learns from: a frozen one, and one that averages the student's weights."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Features


class TeacherOutputs(NamedTuple):
    """What a teacher computes for a batch.

    Attributes:
        features: by modality.
        fused: [B, D].
        outputs: by task, [B, C].
    """

    features: dict[str, Features]
    fused: Tensor
    outputs: dict[str, Tensor]


class Teacher(nn.Module):
    """A frozen model: always in eval mode, and without gradients.

    Args:
        model: is frozen in place.
    """

    def __init__(self, model: Multimodal) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> TeacherOutputs:
        """Return the teacher's features, fused vector and outputs.

        Args:
            batch: may hold more modalities than the teacher reads.
        """
        features = self.model.encode({modality: batch.inputs[modality] for modality in self.model.encoder})
        fused = self.model.fusion(features, batch.present)
        return TeacherOutputs(features, fused, self.model.forward_head(fused))


def freeze_copy(model: Multimodal) -> Teacher:
    """Return a teacher that is a frozen copy of the model as it is now."""
    return Teacher(copy.deepcopy(model))


class EMATeacher(Teacher):
    """A teacher whose weights are an exponential moving average of the student's (Tarvainen & Valpola, 2017).

    The weights are buffers: checkpoints save them, and what runs a trial step (to count FLOPs, say) restores them.

    Args:
        model: the student, whose copy the teacher starts from.
    """

    def __init__(self, model: Multimodal) -> None:
        super().__init__(copy.deepcopy(model))
        for module in self.model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())

    @torch.no_grad()
    def update(self, model: nn.Module, rate: Tensor) -> None:
        """Move the weights towards the student's, and copy its buffers, such as batch statistics.

        Args:
            model: the student.
            rate: scalar, 1 - decay: 0 changes nothing, 1 copies the student.
        """
        averages = dict(self.model.named_buffers())
        for name, weight in model.named_parameters():
            averages[name].lerp_(weight, rate)
        for name, buffer in model.named_buffers():
            averages[name].copy_(buffer)
