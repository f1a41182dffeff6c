"""What predicting one row takes: time, memory, parameters. Models are measured in one process, in turns."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrun.deploy import latency
from mmrun.deploy.latency import Latency
from mmrun.models.compress.int8 import Int8Layer
from mmrun.results.schema import Footprint, Inference
from mmrun.training.cost import count_parameters

NUM_ROUNDS = 200

Call = Callable[[], object]  # predicts one row


class Measured(NamedTuple):
    """A model to measure.

    Attributes:
        model: in eval mode.
        predict: predicts one row with it.
        file: its weights.
    """

    model: nn.Module
    predict: Call
    file: Path


def measure_inference(original: Measured, compressed: Measured, device: torch.device) -> Inference:
    """Measure two models in turns.

    Args:
        original: of the run that was compressed.
        compressed: of the new run.
        device: of both.
    """
    calls = {"original": original.predict, "compressed": compressed.predict}
    latencies = measure_latencies(calls, device)
    return {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "original": _describe_footprint(original, latencies["original"]),
        "compressed": _describe_footprint(compressed, latencies["compressed"]),
    }


def _describe_footprint(measured: Measured, latency: Latency) -> Footprint:
    return {
        "parameters": count_parameters(measured.model.parameters()),
        "nonzero_parameters": count_nonzero(measured.model),
        "file_size": measured.file.stat().st_size,
        "p50": latency.p50,
        "p99": latency.p99,
        "memory": measure_memory(measured.model, measured.predict),
    }


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
    """Count the parameters that are not zero."""
    return sum(int(parameter.detach().count_nonzero()) for parameter in model.parameters())


@torch.no_grad()
def measure_memory(model: nn.Module, call: Call) -> int:
    """Return the bytes of the weights and of the largest layer's inputs and outputs; more is rarely needed at once."""
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
    packed = [module.packed_bytes for module in model.modules() if isinstance(module, Int8Layer)]
    return largest + sum(tensor.nbytes for tensor in weights) + sum(packed)


def _count_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(map(_count_bytes, parts)) if isinstance(value, Mapping | tuple | list) else 0
