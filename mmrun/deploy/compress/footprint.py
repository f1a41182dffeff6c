"""What predicting one row takes: time, memory, parameters. Models are measured in one process, in turns."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

WARMUP_CALLS, NUM_ROUNDS = 10, 200


class Latency(NamedTuple):
    """How long predicting takes.

    Attributes:
        p50: median, in seconds.
        p99: 99th percentile, in seconds.
    """

    p50: float
    p99: float


Call = Callable[[], object]  # predicts one row


@torch.no_grad()
def measure_latencies(calls: Mapping[str, Call], device: torch.device, rounds: int = NUM_ROUNDS) -> dict[str, Latency]:
    """Time models in turns, so that all see the same machine.

    Args:
        calls: by name.
        device: of the models.
        rounds: of one call of each model.

    Returns:
        By name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARMUP_CALLS):
            _time_call(call, device)
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_time_call(call, device))
    return {name: Latency(*map(float, np.percentile(seconds, [50, 99]))) for name, seconds in times.items()}


def _time_call(call: Call, device: torch.device) -> float:
    _synchronize(device)
    began = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - began


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
