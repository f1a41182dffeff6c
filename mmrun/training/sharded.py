"""A model, its gradients and its optimiser's state, cut over all devices (ZeRO: Rajbhandari et al., 2020).

It is torch's fully_shard (FSDP2). What runs by itself is a unit that gathers its parameters for its own forward and
backward pass: each encoder, and within it each block, the fusion, each head and probe, and the objective.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mmrun.models.multimodal import Multimodal
from mmrun.training.engine import Learner
from mmrun.training.placement import Said, Tensors, synchronise


class Sharded:
    """Each device holds its share of every parameter, and of all that learning adds to it."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        if not dist.is_initialized():  # one process alone, which shares with nobody
            dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)
        self.mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        self.talk: Any = dist.new_group(backend="gloo")  # for words: no device waits for them

    def put(self, model: Multimodal) -> None:
        """Cut the model, unit by unit: at no time is more than one of them whole on a device."""
        synchronise(model, self.accelerator)
        for encoder in model.encoder.values():
            for block in blocks(encoder):
                self._cut(block)
            self._cut(encoder)
        for part in (model.fusion, *model.head.values(), *(p for by in model.probe.values() for p in by.children())):
            self._cut(part)

    def share(self, learner: Learner) -> None:
        """Cut what the objective learns itself."""
        synchronise(learner.objective, self.accelerator)
        self._cut(learner.objective)

    def prepare(self, learner: Learner) -> nn.Module:
        """Give the learner in the run's precision: its units average their gradients themselves."""
        prepared: nn.Module = self.accelerator.prepare_model(learner, evaluation_mode=True)  # without DDP
        return prepared

    def whole(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Gather them one by one, into the memory of the CPU of the process that writes."""
        gathered = {}
        for name, tensor in tensors.items():
            full = tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor
            if self.accelerator.is_main_process:
                gathered[name] = full.cpu()
        return gathered

    def own(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Cut those whose namesakes are cut."""
        return {name: _as(tensor, like.get(name)) for name, tensor in tensors.items()}

    def agreed(self, said: Said) -> Said:
        """Ask the first process."""
        words: list[Any] = [said]
        dist.broadcast_object_list(words, src=0, group=self.talk)
        answer: Said = words[0]
        return answer

    def _cut(self, unit: nn.Module) -> None:
        # Features may be views; nothing here changes them in place, which alone would be wrong.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        if any(True for _ in unit.parameters()):
            fully_shard(unit, mesh=self.mesh, reshard_after_forward=True)
        unit.to(self.accelerator.device)


def blocks(module: nn.Module, in_line: bool = False) -> Iterator[nn.Module]:
    """Give the parts that stand one after the other in a network, the outermost of them."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from blocks(child, in_line=True)
        elif in_line:
            yield child
        else:
            yield from blocks(child)


def _as(tensor: Tensor, like: Tensor | None) -> Tensor:
    if isinstance(like, DTensor) and like.shape == tensor.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor
