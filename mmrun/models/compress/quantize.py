"""Quantization after training: layers compute in 8 bits, with ranges of activations that calibration rows show."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmrun.models.compress.heads import can_lose_heads, keep_heads
from mmrun.models.compress.int8 import Int8Layer, Quantization, Range, can_quantize
from mmrun.models.compress.layers import Layer
from mmrun.models.compress.structure import replace_module


def quantize_layers(model: nn.Module, quantization: Quantization, forward: Callable[[], object]) -> list[str]:
    """Let linear layers and convolutions compute in 8 bits (Jacob et al., 2018).

    Torch's attentions, recurrent layers and embeddings stay in fp32; see `split_attentions`. So do layers that
    calibration rows do not reach.

    Args:
        model: changed in place, in eval mode.
        quantization: how.
        forward: runs the model on the calibration rows; called in static mode.

    Returns:
        The names of the layers.
    """
    layers: dict[str, Layer] = {}
    skipped: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):  # torch reads its weights directly
            skipped += (f"{name}.",)
        elif can_quantize(module) and not name.startswith(skipped):
            layers[name] = module
    ranges: dict[str, Range | None] = dict.fromkeys(layers)
    if quantization.mode == "static":
        with _observing_inputs(layers) as observed, torch.no_grad():
            forward()
        ranges = dict(observed)
    for name, input_range in ranges.items():
        layer = Int8Layer(layers[name], quantization.scheme, quantization.granularity, input_range)
        replace_module(model, name, layer)
    return list(ranges)


def split_attentions(encoder: nn.Module) -> None:
    """Replace torch's `MultiheadAttention` by one whose projections are layers; the outputs stay the same.

    Args:
        encoder: changed in place.
    """
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.MultiheadAttention) and can_lose_heads(module):
            replace_module(encoder, name, keep_heads(module, torch.arange(module.num_heads)))


@contextmanager
def _observing_inputs(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Range]]:
    """Collect the range of each layer's inputs, by name, in the forward passes inside the block."""
    ranges: dict[str, Range] = {}

    def observe(name: str, x: Tensor) -> None:
        if x.numel():
            low, high = (float(end) for end in x.detach().aminmax())
            before = ranges.get(name, (low, high))
            ranges[name] = (min(low, before[0]), max(high, before[1]))

    def build_hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: observe(name, inputs[0])

    hooks = [layer.register_forward_pre_hook(build_hook(name)) for name, layer in layers.items()]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()
