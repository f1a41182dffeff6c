"""Layers on 8-bit integers: large ones compute in them on a CPU, by oneDNN, others in fp32 on the rounded numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.compress.layers import CONVOLUTIONS, Layer
from mmrun.models.compress.record import Mode, Scheme

Granularity = Literal["channel", "tensor"]

MAX_WEIGHT = 127  # of an int8 weight; its range is symmetric
MAX_INPUT = 255  # of a uint8 input
CENTRE = 128  # the zero point of symmetric inputs
MIN_PRODUCTS, MIN_WEIGHTS = 4_000_000, 32_768  # of a call; below, fp32 is faster: oneDNN takes 0.1 ms to begin
SMALLEST_SCALE = 1e-12  # of numbers that are all zero
CONVOLVE: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}  # by the axes of the weight

Range = tuple[float, float]  # smallest and largest value


@dataclass(frozen=True)
class Quantization:
    """How numbers become 8-bit integers (Jacob et al., 2018).

    Attributes:
        mode: static: activations have the ranges that they had on calibration rows; dynamic: those of each batch.
        scheme: asymmetric: a range starts and ends where its numbers do; symmetric: 0 is in its middle. This is about
            activations, except in an exported ONNX file in dynamic mode, where it is about weights. All other weights
            are symmetric.
        granularity: channel: each output channel of a weight has its own scale; tensor: each weight has one.
    """

    mode: Mode = "static"
    scheme: Scheme = "asymmetric"
    granularity: Granularity = "channel"

    def __str__(self) -> str:
        return f"int8, {self.mode}, {self.scheme}, per {self.granularity}"

    @property
    def slug(self) -> str:
        """int8, and what differs from the defaults: int8-dynamic-tensor."""
        values, defaults = (self.mode, self.scheme, self.granularity), ("static", "asymmetric", "channel")
        return "-".join(["int8", *(value for value in values if value not in defaults)])


class Int8Layer(nn.Module):
    """A linear layer or convolution with int8 weights, whose inputs are rounded to uint8.

    Args:
        layer: that it takes the place of; its weights are rounded.
        scheme: of the inputs; the weights are symmetric.
        granularity: of the weights.
        input_range: of the inputs on calibration rows; None: that of each batch.
    """

    input_scale: Tensor
    input_zero_point: Tensor
    weight_zero_point: Tensor

    def __init__(
        self, layer: Layer, scheme: Scheme, granularity: Granularity = "channel", input_range: Range | None = None
    ) -> None:
        super().__init__()
        self.mode: Mode = "dynamic" if input_range is None else "static"
        self.scheme = scheme
        weight = layer.weight.detach().float()
        peaks = weight.abs().flatten(1).amax(1)
        scales = (peaks if granularity == "channel" else peaks.max().expand_as(peaks)) / MAX_WEIGHT
        self.weight_scale = nn.Parameter(scales.clamp(min=SMALLEST_SCALE))
        int8 = (weight / _align(self.weight_scale.detach(), weight)).round().to(torch.int8)
        self.int8_weight = nn.Parameter(int8, requires_grad=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().float())
        zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        self.register_buffer("weight_zero_point", zeros, persistent=False)
        if input_range is not None:
            low, high = torch.tensor(input_range)
            scale, zero_point = choose_scale(low, high, scheme)
            self.register_buffer("input_scale", scale.to(weight.device))
            self.register_buffer("input_zero_point", zero_point.to(weight.device))
        self._read_input_scale()
        self._geometry: tuple[Any, ...] = ()  # of a convolution
        groups = 1
        if isinstance(layer, CONVOLUTIONS):
            groups = layer.groups
            self._geometry = (list(layer.stride), list(layer.padding), list(layer.dilation), groups)
        self.size = (weight.shape[1] * groups, weight.shape[0])  # inputs and outputs
        self._packed: Tensor | None = None  # the weights as oneDNN reads them

    @property
    def weight(self) -> Tensor:
        """The rounded weights in fp32; some modules read those of their layers."""
        return self.int8_weight.float() * _align(self.weight_scale, self.int8_weight)

    @property
    def packed_bytes(self) -> int:
        """What oneDNN's copy of the weights takes."""
        return 0 if self._packed is None else self.int8_weight.nbytes

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            x: the input of the layer that this one takes the place of.

        Returns:
            Its output in fp32.
        """
        if torch.compiler.is_exporting():
            return self._compute_for_export(x)
        x = x.float()
        scale, zero_point = self._choose_input_scale(x)
        needs_gradients = x.requires_grad and torch.is_grad_enabled()
        if x.device.type == "cpu" and not needs_gradients and self._is_large(x) and has_onednn():
            return self._compute_by_onednn(x, float(scale), int(zero_point))
        rounded = (((x / scale).round() + zero_point).clamp(0, MAX_INPUT) - zero_point) * scale
        if needs_gradients:
            rounded = x + (rounded - x).detach()  # rounding lets gradients through
        return self._compute(rounded, self.weight)

    def _is_large(self, x: Tensor) -> bool:
        """Return whether rounding the weights back to fp32 would take longer than a call of oneDNN takes to begin."""
        num_weights = self.int8_weight.numel()
        return num_weights >= MIN_WEIGHTS or x.numel() // self.size[0] * num_weights >= MIN_PRODUCTS

    def _read_input_scale(self) -> None:
        """Keep static numbers outside of tensors, which are slow to read and no constants of an exported graph."""
        if self.mode == "static":
            self._static = (self.input_scale.item(), int(self.input_zero_point.item()))

    def _choose_input_scale(self, x: Tensor) -> tuple[Tensor, Tensor] | tuple[float, int]:
        if self.mode == "static":
            return self._static
        low, high = x.detach().aminmax() if x.numel() else (x.new_zeros(()), x.new_zeros(()))
        return choose_scale(low, high, self.scheme)

    def _compute(self, x: Tensor, weight: Tensor) -> Tensor:
        if not self._geometry:
            return F.linear(x, weight, self.bias)
        return CONVOLVE[weight.ndim](x, weight, self.bias, *self._geometry)

    def _compute_by_onednn(self, x: Tensor, scale: float, zero_point: int) -> Tensor:
        if self._packed is None:
            self._packed = self._pack(scale)
        rounded = (x / scale).round_().add_(zero_point).clamp_(0, MAX_INPUT).to(torch.uint8)
        output: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")  # it is not rounded, and nothing follows
        numbers = (rounded, scale, zero_point, self._packed, self.weight_scale, self.weight_zero_point, self.bias)
        if not self._geometry:
            return cast(Tensor, torch.ops.onednn.qlinear_pointwise(*numbers, *output))
        y: Tensor = torch.ops.onednn.qconv_pointwise(*numbers, *self._geometry, *output)
        return y.contiguous() if x.is_contiguous() else y  # oneDNN's is channels-last

    def _pack(self, scale: float) -> Tensor:
        if not self._geometry:
            return cast(Tensor, torch.ops.onednn.qlinear_prepack(self.int8_weight, None))
        numbers = (self.int8_weight, self.weight_scale, scale, CENTRE)  # any zero point but 0 fits all
        return cast(Tensor, torch.ops.onednn.qconv_prepack(*numbers, *self._geometry, None))

    def _compute_for_export(self, x: Tensor) -> Tensor:
        """Compute with the operators that become QuantizeLinear and DequantizeLinear in ONNX."""
        import torch.ao.quantization.fx._decomposed  # it registers them

        operators = torch.ops.quantized_decomposed
        scale, zero_point = self._choose_input_scale(x)
        if self.mode == "static":
            inputs = (scale, zero_point, 0, MAX_INPUT, torch.uint8)
            x = operators.dequantize_per_tensor(operators.quantize_per_tensor(x, *inputs), *inputs)
        else:
            x = (((x / scale).round() + zero_point).clamp(0, MAX_INPUT) - zero_point) * scale
        weights = (self.weight_scale, self.weight_zero_point, 0, -MAX_WEIGHT - 1, MAX_WEIGHT, torch.int8)
        return self._compute(x, operators.dequantize_per_channel(self.int8_weight, *weights))

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._packed = None
        if self.mode == "static" and not 0 <= self.input_zero_point.item() <= MAX_INPUT:
            prefix, errors = arguments[1], arguments[-1]
            errors.append(f"{prefix}input_zero_point is {self.input_zero_point.item()}, not 0 to {MAX_INPUT}")
            return
        self._read_input_scale()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be copied; it is packed again."""
        return {**self.__dict__, "_packed": None}


def can_quantize(module: nn.Module) -> TypeGuard[Layer]:
    """Return whether a layer can compute in 8 bits.

    Args:
        module: any part of a model.
    """
    if isinstance(module, CONVOLUTIONS):
        return type(module) in CONVOLUTIONS and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear


def has_onednn() -> bool:
    """Return whether torch computes in 8 bits on the CPU of this machine."""
    return "onednn" in torch.backends.quantized.supported_engines


def choose_scale(low: Tensor, high: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Return the scale and the zero point of uint8 numbers; they hold 0 exactly, so that padding stays what it is.

    Args:
        low: smallest number.
        high: largest number.
        scheme: asymmetric or symmetric.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    if scheme == "symmetric":
        scale = (torch.maximum(-low, high) / MAX_WEIGHT).clamp(min=SMALLEST_SCALE)
        return scale, torch.full_like(scale, CENTRE)
    scale = ((high - low) / MAX_INPUT).clamp(min=SMALLEST_SCALE)
    return scale, (-low / scale).round()


def _align(scales: Tensor, weight: Tensor) -> Tensor:
    """Return scales of output channels [O] in the shape [O, 1, ...]."""
    return scales.view(-1, *[1] * (weight.ndim - 1))
