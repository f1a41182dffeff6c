"""How a model is placed on the devices of a run: replicated on each, or sharded over them."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import SyncBatchNorm

from mmrun.models.multimodal import Multimodal
from mmrun.training.device import channels_last
from mmrun.training.learner import Learner

Tensors = dict[str, Tensor]
T = TypeVar("T")


class Placement(Protocol):
    """What differs between the ways of placing a model. All processes call each method together."""

    def place_model(self, model: Multimodal) -> None:
        """Move a model to the devices, in place."""

    def place_objective(self, learner: Learner) -> None:
        """Place what an objective brings as the model is placed, in place."""

    def prepare(self, learner: Learner) -> nn.Module:
        """Return what the loop trains: it averages gradients over the processes.

        Args:
            learner: with the model and the objective already placed.
        """
        ...

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return whole tensors, in the process that writes.

        Args:
            tensors: by name, this process's share of each.
        """
        ...

    def scatter(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Return this process's share of whole tensors, each placed as its namesake in `like`.

        Args:
            tensors: whole, by name.
            like: placed tensors; where a name has none, the whole tensor is returned.
        """
        ...

    def broadcast(self, value: T) -> T:
        """Return the first process's value where all have to agree.

        Args:
            value: this process's own; it must be picklable.
        """
        ...


class Replicated:
    """Each device holds the whole model; several processes use DDP.

    Args:
        accelerator: devices and processes.
        use_channels_last: lay out convolution weights by pixel.
    """

    def __init__(self, accelerator: Accelerator, use_channels_last: bool = False) -> None:
        self.accelerator, self.use_channels_last = accelerator, use_channels_last

    def place_model(self, model: Multimodal) -> None:
        """Move the model to the device."""
        model.to(self.accelerator.device)
        if self.use_channels_last:
            channels_last(model)

    def place_objective(self, learner: Learner) -> None:
        """Convert BatchNorm layers to SyncBatchNorm on several GPUs."""
        synchronise_batch_norm(learner, self.accelerator)

    def prepare(self, learner: Learner) -> nn.Module:
        """Wrap the learner in DDP where there are several processes."""
        prepared: nn.Module = self.accelerator.prepare(learner)
        return prepared

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return the tensors: they are whole."""
        return dict(tensors)

    def scatter(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Return the tensors: each process holds all of them."""
        return dict(tensors)

    def broadcast(self, value: T) -> T:
        """Return the process's own value: nothing waits for what another process does."""
        return value


def synchronise_batch_norm(module: nn.Module, accelerator: Accelerator) -> None:
    """Let BatchNorm layers use the statistics of all GPUs."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        SyncBatchNorm.convert_sync_batchnorm(module)
