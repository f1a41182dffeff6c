"""A model, its gradients and its optimizer state, sharded over all devices (ZeRO: Rajbhandari et al., 2020).

It uses torch's fully_shard (FSDP2). Each unit gathers its parameters for its own forward and backward pass: each
encoder, and within it each block, the fusion, each head and probe, and the objective.
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
from mmrun.training.learner import Learner
from mmrun.training.placement import T, Tensors, synchronise_batch_norm


class Sharded:
    """Each device holds its share of every parameter, of its gradient and of its optimizer state.

    Args:
        accelerator: devices and processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        if not dist.is_initialized():  # a single process, without torchrun
            dist.init_process_group(store=dist.HashStore(), rank=0, world_size=1)
        self.mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        self.cpu_group: Any = dist.new_group(backend="gloo")  # for Python objects: no device waits for them

    def place_model(self, model: Multimodal) -> None:
        """Shard the model unit by unit: at no time is more than one of them whole on a device."""
        synchronise_batch_norm(model, self.accelerator)
        for encoder in model.encoder.values():
            for block in blocks(encoder):
                self._shard(block)
            self._shard(encoder)
        self._shard(model.fusion)
        for head in model.head.values():
            self._shard(head)
        for by_task in model.probe.values():
            for probe in by_task.children():
                self._shard(probe)

    def place_objective(self, learner: Learner) -> None:
        """Shard the objective's own parameters."""
        synchronise_batch_norm(learner.objective, self.accelerator)
        self._shard(learner.objective)

    def prepare(self, learner: Learner) -> nn.Module:
        """Return the learner in the run's precision; its units average their gradients themselves, without DDP."""
        prepared: nn.Module = self.accelerator.prepare_model(learner, evaluation_mode=True)
        return prepared

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Gather the tensors one by one into the CPU memory of the process that writes."""
        gathered = {}
        for name, tensor in tensors.items():
            full = tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor
            if self.accelerator.is_main_process:
                gathered[name] = full.cpu()
        return gathered

    def scatter(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensors:
        """Shard those tensors whose namesakes are sharded."""
        return {name: _shard_like(tensor, like.get(name)) for name, tensor in tensors.items()}

    def broadcast(self, value: T) -> T:
        """Return the first process's value."""
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0, group=self.cpu_group)
        first: T = values[0]
        return first

    def _shard(self, unit: nn.Module) -> None:
        # Features may be views. The warning is about changing them in place, which nothing here does.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        if any(True for _ in unit.parameters()):
            fully_shard(unit, mesh=self.mesh, reshard_after_forward=True)
        unit.to(self.accelerator.device)


def blocks(module: nn.Module, in_sequence: bool = False) -> Iterator[nn.Module]:
    """Yield the outermost modules that stand in a `ModuleList` or `Sequential`.

    Args:
        module: to search.
        in_sequence: whether `module` is itself such a list.
    """
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from blocks(child, in_sequence=True)
        elif in_sequence:
            yield child
        else:
            yield from blocks(child)


def _shard_like(tensor: Tensor, like: Tensor | None) -> Tensor:
    if isinstance(like, DTensor) and like.shape == tensor.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor
