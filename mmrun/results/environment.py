"""The machine and the code of a run, as far as they can change a result."""

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmrun.code_version import LIBRARIES, find_version
from mmrun.results.folder import RunFolder
from mmrun.results.run_values import flatten
from mmrun.results.schema import Environment, GitState, RunRecord
from mmrun.version import __version__

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

    from mmrun.training.device import model_name

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {"mmrun": __version__, **{library: find_version(library) for library in LIBRARIES}},
        "git": _read_git_state(),
        "device": model_name(device),
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
    for start_properties in properties:
        names.update(dict.fromkeys(start_properties))
    changes = {}
    for name in names:
        values = [start_properties.get(name) for start_properties in properties]
        if name not in OF_ONE_START and values != values[:1] * len(values):
            changes[name] = values
    return changes


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


# ------------------------------------------------------------------------------------------------- of several runs


def find_differing_environments(runs: Iterable[RunRecord]) -> list[str]:
    """Return notices about properties of machine and code that differ between compared runs: device, commit, versions.

    Args:
        runs: those without environment.json do not count.
    """
    return describe_differing(count_environments(runs))


def describe_differing(environments: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a notice about each property of machine and code that has several values.

    Args:
        environments: as `count_environments` returns them.
    """
    notices = []
    for name, counts in environments.items():
        if len(counts) > 1:
            values = ", ".join(f"{value} (n={count})" for value, count in sorted(counts.items()))
            notices.append(f"{name} differs between compared runs: {values}")
    return notices


def count_environments(runs: Iterable[RunRecord]) -> dict[str, Counter[str]]:
    """Count in how many runs each property of machine and code had which value: "A100", or "A100, then H100".

    Args:
        runs: those without environment.json are not counted.

    Returns:
        The number of runs, by property (device, python, a package, the commit) and value.
    """
    counts: dict[str, Counter[str]] = {}
    for run in runs:
        properties: dict[str, dict[str, None]] = {}  # by name, the distinct values in the order of the run's starts
        for start in RunFolder(run["folder"]).read_starts():
            for name, value in _flatten_environment(dict(start)).items():
                properties.setdefault(name, {})[str(value)] = None
        for name, values in properties.items():
            counts.setdefault(name, Counter())[", then ".join(values)] += 1
    return counts


def _flatten_environment(environment: dict[str, Any]) -> dict[str, object]:
    """Return the environment with the commit and the versions of packages as properties of their own."""
    properties: dict[str, object] = dict(environment)
    versions, git = environment.get("versions", {}), environment.get("git")
    properties.pop("versions", None)
    for key in ("git", "time", "starts"):
        properties.pop(key, None)
    if git is not None:
        properties["commit"] = git["commit"][:12] + (" with uncommitted changes" if git["changed"] else "")
    for name, version in versions.items():
        if version is not None:
            properties[name] = version
    return properties
