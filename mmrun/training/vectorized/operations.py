"""Operations that vmap does not batch, or batches slowly, computed for several models at a time.

Several convolutions of one shape are one grouped convolution. The channels of all models lie side by side in memory
(channels-last), so that pooling and batch norm, which follow it, read them without a copy and in longer vectors.

Shapes: S models; a tensor of images is [S, B, C, H, W] to vmap, and [B, S * C, H, W] in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]


class StackedOperations(TorchFunctionMode):
    """Replaces some operations while the context is open, inside of vmap."""

    def __torch_function__(
        self, func: Function, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the replacement of a function, or the function itself."""
        return REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


def _embedding(index: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Embed; a table without rows, that of a data set without categories, is not batched by vmap."""
    if weight.numel() == 0:
        return weight.new_zeros(*index.shape, weight.shape[-1])
    return F.embedding(index, weight, *args, **kwargs)


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Convert; vmap knows no memory format of images, and here they have one anyway."""
    kwargs.pop("memory_format", None)
    return tensor.to(*args, **kwargs) if args or kwargs else tensor


class _Conv2d(torch.autograd.Function):
    """A convolution whose input and weights are those of each model."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        return torch.conv2d(x, weight, bias, *options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        raise NotImplementedError("it is only called inside of vmap")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("it is only called inside of vmap")

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        options: tuple[Any, ...],
    ) -> tuple[Tensor, int]:
        """Compute the convolutions of all models as one grouped convolution."""
        size = info.batch_size
        x = _merge_channels(x, in_dims[0], size)
        weight = _at_front(weight, in_dims[1], size).flatten(0, 1)
        bias = None if bias is None else _at_front(bias, in_dims[2], size).flatten()
        stride, padding, dilation, groups = options
        merged = torch.conv2d(x, weight, bias, stride, padding, dilation, groups * size)
        return merged.unflatten(1, (size, -1)), 1


class _MaxPool2d(torch.autograd.Function):
    """Max pooling of the images of each model."""

    forward = staticmethod(lambda x, options: torch.max_pool2d(x, *options))
    setup_context, backward = _Conv2d.setup_context, _Conv2d.backward

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, options: tuple[Any, ...]) -> tuple[Tensor, int]:
        """Pool the channels of all models side by side."""
        merged = torch.max_pool2d(_merge_channels(x, in_dims[0], info.batch_size), *options)
        return merged.unflatten(1, (info.batch_size, -1)), 1


class _BatchNorm(torch.autograd.Function):
    """Batch norm of the images of each model, with its own running statistics, which are updated in place."""

    forward = staticmethod(lambda x, *options: torch.batch_norm(x, *options))
    setup_context, backward = _Conv2d.setup_context, _Conv2d.backward

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *options: Any) -> tuple[Tensor, int]:
        """Normalise the channels of all models side by side."""
        size = info.batch_size
        channel_args: list[Any] = []
        for tensor, dim in zip(options[:4], in_dims[1:5], strict=True):  # weight, bias, running mean and variance
            channel_args.append(None if tensor is None else _at_front(tensor, dim, size).flatten())
        merged = torch.batch_norm(_merge_channels(x, in_dims[0], size), *channel_args, *options[4:])
        return merged.unflatten(1, (size, -1)), 1


class _Stft(torch.autograd.Function):
    """The spectra of the sounds of each model."""

    forward = staticmethod(lambda x, options: torch.stft(x, **options))
    setup_context, backward = _Conv2d.setup_context, _Conv2d.backward

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, options: dict[str, Any]) -> tuple[Tensor, int]:
        """Compute the spectra of all sounds as one batch."""
        sounds = _at_front(x, in_dims[0], info.batch_size)  # [S, B, samples]
        return torch.stft(sounds.flatten(0, 1), **options).unflatten(0, sounds.shape[:2]), 0


def _merge_channels(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Return images with the channels of all models side by side, [B, S * C, H, W] in channels-last memory."""
    x = x.unsqueeze(1).expand(-1, size, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    return x.flatten(1, 2).contiguous(memory_format=torch.channels_last)


def _at_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Return the tensors of all models, [S, ...]."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    return _Conv2d.apply(x, weight, bias, (stride, padding, dilation, groups))


def _max_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices:
        return F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _MaxPool2d.apply(x, (kernel_size, stride or kernel_size, padding, dilation, ceil_mode))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if x.dim() != 4:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    return _BatchNorm.apply(x, weight, bias, running_mean, running_var, training, momentum, eps, False)


def _stft(x: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, **options: Any) -> Any:
    return _Stft.apply(x, {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, **options})


REPLACEMENTS: dict[Function, Function] = {
    F.embedding: _embedding,
    Tensor.to: _to,
    torch.conv2d: _conv2d,
    F.max_pool2d: _max_pool2d,
    F.batch_norm: _batch_norm,
    torch.stft: _stft,
}
