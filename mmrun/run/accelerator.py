"""The devices and processes of a run, and how its model lies on them."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from mmrun.config import RunConfig
from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.run import checks
from mmrun.training import device
from mmrun.training.placement import Placement, Replicated

# An objective may leave trainable parameters without a gradient: masked tokens pass through no pooler.
UNUSED = DistributedDataParallelKwargs(find_unused_parameters=True)


def build_accelerator(config: RunConfig) -> Accelerator:
    """Choose device and precision.

    Raises:
        ConfigError: this machine lacks what the config asks for, or the processes cannot share a batch evenly.
    """
    trainer = config.trainer
    checks.check_machine(trainer)
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    if world > 1 and config.budget.seconds is not None:
        raise ConfigError("budget.seconds: several processes have several clocks; use epochs, steps, samples or flops")
    AcceleratorState._reset_state()  # an earlier run of this process may have used another precision
    accelerator = Accelerator(
        mixed_precision="no" if trainer.precision == "fp32" else trainer.precision,
        cpu=trainer.device == "cpu" or not torch.accelerator.is_available(),  # else torchrun's processes stay apart
        kwargs_handlers=[UNUSED],
    )
    if accelerator.num_processes != world:
        raise ConfigError(
            f"trainer.device: {world} processes cannot train together on {accelerator.device.type}; "
            "use trainer.device=cpu, or start one process"
        )
    device.set_up(accelerator.device, trainer.deterministic, trainer.tf32)
    return accelerator


def place_model(model: Multimodal, config: RunConfig, accelerator: Accelerator, shard: bool = False) -> Placement:
    """Move a model to the devices, replicated or sharded, and return how it is placed.

    Args:
        model: moved in place.
        config: its trainer.
        accelerator: devices and processes.
        shard: shard the weights over the devices.
    """
    use_channels_last = device.is_enabled(config.trainer.channels_last, accelerator.device)
    placement: Placement = Replicated(accelerator, use_channels_last)
    if shard:
        from mmrun.training.sharded import Sharded

        placement = Sharded(accelerator)
    placement.place_model(model)
    return placement


def has_shards(config: RunConfig, accelerator: Accelerator) -> bool:
    """Return whether the model is sharded: a single process would only copy its weights to and fro."""
    return config.trainer.fsdp and accelerator.num_processes > 1
