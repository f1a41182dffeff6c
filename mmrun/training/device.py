"""Settings of the device, made before anything runs on it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mmrun.errors import ConfigError

CUBLAS_CONFIG = "CUBLAS_WORKSPACE_CONFIG"


def set_up(device: torch.device, deterministic: bool, tf32: bool) -> None:
    """Choose between bit-reproducible and fastest kernels, and whether fp32 products may be rounded to TF32.

    On a CPU the same number of threads gives the same bits. There, subnormal numbers (below 1e-38) count as 0: Adam's
    averages decay into them where gradients have vanished, and its step would take a quarter longer.

    Args:
        device: that the run uses.
        deterministic: on a GPU, use kernels that return the same bits each time; what has none raises an error, which
            `naming_kernel` translates. A mere warning would not do: attention then keeps its faster kernels.
        tf32: on a GPU, allow TF32.
    """
    torch.set_flush_denormal(True)  # for this thread, and for those that torch starts from now on
    if device.type != "cuda":
        return
    os.environ.setdefault(CUBLAS_CONFIG, ":4096:8")  # cuBLAS reads it at its first call
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    # These two set the old flags and the new ones (`fp32_precision`) alike. Inductor reads either, by version, and
    # raises an error where an old flag contradicts a new one.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def naming_kernel() -> Iterator[None]:
    """Translate torch's error where a kernel has no deterministic version.

    Raises:
        ConfigError: it names the kernel and the key.
    """
    try:
        yield
    except RuntimeError as error:
        if CUBLAS_CONFIG in str(error):  # a notebook, say
            raise ConfigError(
                "trainer.deterministic: this process has used the GPU before; "
                f"start Python with {CUBLAS_CONFIG}=:4096:8, or set trainer.deterministic=false"
            ) from error
        kernel = re.match(r"(.+?) does not have a deterministic implementation", str(error))
        if kernel is None:
            raise
        raise ConfigError(
            f"trainer.deterministic: torch has no deterministic kernel for {kernel[1]} on this device; "
            "trainer.deterministic=false trains without (equal runs then differ in their last bits)"
        ) from error


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
