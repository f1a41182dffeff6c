"""What is told to the device before anything runs on it."""

import os

import torch
from torch import nn


def set_up(device: torch.device, deterministic: bool, tf32: bool) -> None:
    """Choose between the same bits each time and the quickest kernels, and whether fp32 may be rounded to TF32.

    On a CPU the same threads give the same bits. There, numbers too small for full precision (below 1e-38) count as 0:
    Adam's averages fade into these where gradients have ended, and its step would take a quarter longer.
    """
    torch.set_flush_denormal(True)  # for this thread, and those that torch starts from here on
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with the first product of matrices
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def channels_last(module: nn.Module) -> None:
    """Lay the weights of two-dimensional convolutions out by pixel: tensor cores then need no transposed copies."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def chosen(wanted: bool | str, device: torch.device) -> bool:
    """Tell whether something is done that may be true, false, auto (on a GPU), or the name of a way to do it."""
    return device.type == "cuda" if wanted == "auto" else bool(wanted)
