"""What a result may depend on besides its config: versions, device, threads, the state of the code."""

import platform
import subprocess
from importlib import metadata
from typing import Any

LIBRARIES = (
    *("mmrun", "torch", "torchvision", "timm", "transformers", "tokenizers", "accelerate", "hydra-core", "omegaconf"),
    *("numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "soundfile", "safetensors"),
)


def environment() -> dict[str, Any]:
    """Describe the machine and the code as far as they can change a result, and name neither machine nor user."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {library: version(library) for library in LIBRARIES},
        "git": git(),
        "devices": devices(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def version(library: str) -> str | None:
    """Give the installed version without importing the library; None where it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def devices() -> list[str]:
    """Name what may be trained on, accelerators first."""
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [*names, "cpu"]


def git() -> dict[str, Any] | None:
    """Give the commit of the working directory and whether files differ from it; None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": _git("status", "--porcelain", "--untracked-files=no") != ""}


def _git(*words: str) -> str | None:
    try:
        answer = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
