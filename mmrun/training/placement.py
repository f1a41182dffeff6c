"""How a model lies on the devices of a run: whole on each, or shared out among them."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import SyncBatchNorm

from mmrun.models.multimodal import Multimodal
from mmrun.training.device import channels_last
from mmrun.training.engine import Learner

Tensors = dict[str, Tensor]
Said = TypeVar("Said")


class Placement(Protocol):
    """What differs between the ways. All processes have to call each of these together."""

    def put(self, model: Multimodal) -> None:
        """Bring a model to the devices."""

    def share(self, learner: Learner) -> None:
        """Let what an objective brings lie as the model does."""

    def prepare(self, learner: Learner) -> nn.Module:
        """Give what the engine trains: its gradients are averaged over the processes."""
        ...

    def whole(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Give whole tensors to the process that writes."""
        ...

    def own(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Give of whole tensors what belongs on this process's device, each as its namesake in `like` lies there."""
        ...

    def agreed(self, said: Said) -> Said:
        """Give what the first process says, where all have to do the same."""
        ...


class Replicated:
    """Each device holds the whole model, in DDP where there are several."""

    def __init__(self, accelerator: Accelerator, by_pixel: bool = False) -> None:
        self.accelerator, self.by_pixel = accelerator, by_pixel

    def put(self, model: Multimodal) -> None:
        """Move the model to the device, in the layout that the run wants there."""
        model.to(self.accelerator.device)
        if self.by_pixel:
            channels_last(model)

    def share(self, learner: Learner) -> None:
        """Share batch statistics over GPUs."""
        synchronise(learner, self.accelerator)

    def prepare(self, learner: Learner) -> nn.Module:
        """Wrap it."""
        wrapped: nn.Module = self.accelerator.prepare(learner)
        return wrapped

    def whole(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Give them: they are."""
        return dict(tensors)

    def own(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Give all of them."""
        return dict(tensors)

    def agreed(self, said: Said) -> Said:
        """Let each process do as it says: what one does, no other waits for."""
        return said


def synchronise(module: nn.Module, accelerator: Accelerator) -> None:
    """Let the batch statistics within a module be those of all GPUs."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        SyncBatchNorm.convert_sync_batchnorm(module)
