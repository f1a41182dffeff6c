"""Settings of the device, made before anything runs on it."""

import os

import torch
from torch import nn


def set_up(device: torch.device, deterministic: bool, tf32: bool) -> None:
    """Choose between bit-reproducible and fastest kernels, and whether fp32 products may be rounded to TF32.

    On a CPU the same number of threads gives the same bits. There, subnormal numbers (below 1e-38) count as 0: Adam's
    averages decay into them where gradients have vanished, and its step would take a quarter longer.

    Args:
        device: that the run uses.
        deterministic: on a GPU, prefer kernels that return the same bits each time.
        tf32: on a GPU, allow TF32.
    """
    torch.set_flush_denormal(True)  # for this thread, and for those that torch starts from now on
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first call
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def model_name(device: torch.device | str) -> str:
    """Return the model of a device: NVIDIA H100 80GB HBM3, or cpu. Another model may round differently.

    Args:
        device: that torch trains on.
    """
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def channels_last(module: nn.Module) -> None:
    """Lay out the weights of two-dimensional convolutions by pixel, so that tensor cores need no transposed copies.

    Args:
        module: changed in place; four-dimensional parameters count as convolutions.
    """
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def is_enabled(setting: bool | str, device: torch.device) -> bool:
    """Return whether a setting applies: true, false, `auto` (on a GPU), or the name of a mode.

    Args:
        setting: true, false, `auto` or the name of a mode.
        device: that the run uses.
    """
    return device.type == "cuda" if setting == "auto" else bool(setting)
