"""What predicting one row takes: time, memory, parameters. Models are measured in one process, in turns."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.deploy import latency
from mmrun.deploy.latency import Latency

NUM_ROUNDS = 200


Call = Callable[[], object]  # predicts one row


@torch.no_grad()
def measure_latencies(calls: Mapping[str, Call], device: torch.device, rounds: int = NUM_ROUNDS) -> dict[str, Latency]:
    """Time models on a device in turns; see `latency.measure_latencies`.

    Args:
        calls: by name.
        device: of the models.
        rounds: of one call of each model.

    Returns:
        By name.
    """
    in_turns = {name: partial(_call_and_wait, call, device) for name, call in calls.items()}
    return latency.measure_latencies(in_turns, rounds, calls_per_block=1)


def _call_and_wait(call: Call, device: torch.device) -> None:
    call()
    _synchronize(device)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_nonzero(model: nn.Module) -> int:
    """Count the parameters that are not zero.

    Args:
        model: any module.
    """
    return sum(int(parameter.detach().count_nonzero()) for parameter in model.parameters())


@torch.no_grad()
def measure_memory(model: nn.Module, call: Call) -> int:
    """Return the bytes of the weights and of the largest layer's inputs and outputs; more is rarely needed at once.

    Args:
        model: in eval mode.
        call: predicts one row with it.
    """
    largest = 0

    def observe(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if not any(True for _ in module.children()):
            largest = max(largest, _count_bytes(inputs) + _count_bytes(output))

    hooks = [module.register_forward_hook(observe) for module in model.modules()]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    weights = [*model.parameters(), *model.buffers()]
    return largest + sum(tensor.nbytes for tensor in weights)


def _count_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(map(_count_bytes, parts)) if isinstance(value, Mapping | tuple | list) else 0
