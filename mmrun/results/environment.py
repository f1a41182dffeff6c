"""The machine and the code of a run, as far as they can change a result."""

import platform
import subprocess
from collections.abc import Sequence

import mmrun
from mmrun.code_version import LIBRARIES, find_version
from mmrun.results.schema import Environment, GitState
from mmrun.results.selection import flatten

OF_ONE_START = ("time", "batch_size")  # differ, or are recorded once


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


def compare_starts(starts: Sequence[Environment]) -> dict[str, list[object]]:
    """Return what differs between the starts of a run.

    Args:
        starts: in order.

    Returns:
        The value at each start, by property: device, python, git.commit, versions.torch ...
    """
    properties = [dict(flatten(start)) for start in starts]
    names: dict[str, None] = {}
    for of_start in properties:
        names.update(dict.fromkeys(of_start))
    values = {name: [of_start.get(name) for of_start in properties] for name in names if name not in OF_ONE_START}
    return {name: of_starts for name, of_starts in values.items() if any(each != of_starts[0] for each in of_starts)}


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
