"""The machine and the code of a run, as far as they can change a result."""

import platform
import subprocess

import mmrun
from mmrun.code_version import LIBRARIES, find_version
from mmrun.results.schema import Environment, GitState


def describe_environment(device: str, threads: int) -> Environment:
    """Describe machine and code without naming the machine or its user.

    Args:
        device: that torch trains on: `cpu`, `cuda:0` ...
        threads: that torch uses.

    Returns:
        What environment.json holds.
    """
    import torch

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {"mmrun": mmrun.__version__, **{library: find_version(library) for library in LIBRARIES}},
        "git": _read_git_state(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _read_git_state() -> GitState | None:
    """Return the commit of the working directory and whether its files differ from it; None outside a repository."""
    commit = _run_git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "changed": _run_git("status", "--porcelain") != ""}


def _run_git(*arguments: str) -> str | None:
    """Return what git prints; None where it fails or is not installed."""
    try:
        completed = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return completed.stdout.strip()
