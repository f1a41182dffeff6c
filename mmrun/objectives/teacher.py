"""Models that an objective owns and learns from: a frozen one, and one that averages the student's weights."""

import copy
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

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
        super().__init__(copy_as_buffers(model))

    def update(self, model: nn.Module, rate: Tensor) -> None:
        """Move the weights towards the student's, and copy its buffers, such as batch statistics.

        Args:
            model: the student.
            rate: scalar, 1 - decay: 0 changes nothing, 1 copies the student.
        """
        update_average(self.model, model, rate)


class EMACopy(nn.Module):
    """A copy of a module whose weights are buffers that follow it; always in eval mode, and without gradients.

    Args:
        module: that the copy starts from.
        batch_statistics: batch norms of the copy use the statistics of the batch, not the running ones of the module,
            which belong to other weights than the averaged ones.
    """

    def __init__(self, module: nn.Module, batch_statistics: bool = False) -> None:
        super().__init__()
        self.module = copy_as_buffers(module).eval()
        if batch_statistics:
            _forget_running_statistics(self.module)

    def train(self, mode: bool = True) -> "EMACopy":
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Return what the copied module returns."""
        return self.module(*inputs)

    def update(self, module: nn.Module, rate: Tensor | float) -> None:
        """Move the weights towards those of the module, and copy its buffers.

        Args:
            module: that is trained.
            rate: 1 - decay: 0 changes nothing, 1 copies the module.
        """
        update_average(self.module, module, rate)


def _forget_running_statistics(module: nn.Module) -> None:
    """Remove the running statistics of all batch norms; without them, they use those of the batch in any mode."""
    for part in module.modules():
        if isinstance(part, _NormBase):
            part.running_mean = part.running_var = part.num_batches_tracked = None


M = TypeVar("M", bound=nn.Module)


def copy_as_buffers(module: M) -> M:
    """Return a copy of a module in which every parameter is a buffer.

    Args:
        module: to copy.
    """
    copied = copy.deepcopy(module)
    for part in copied.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, weight.detach())
    return copied


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, rate: Tensor | float) -> None:
    """Move an average towards a module's parameters, and copy its buffers, such as batch statistics.

    Buffers that the average does not have stay out of it.

    Args:
        average: that `copy_as_buffers` returned; it is changed in place.
        module: that it was copied from.
        rate: 1 - decay: 0 changes nothing, 1 copies the parameters.
    """
    averages = dict(average.named_buffers())
    for name, weight in module.named_parameters():
        averages[name].lerp_(weight, rate)
    for name, buffer in module.named_buffers():
        if name in averages:
            averages[name].copy_(buffer)
