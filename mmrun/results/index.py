"""Finding runs below a folder, and saying in a line how each one stands. Reads JSON only, so thousands are quick."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrun.errors import ConfigError, DataError, nearest
from mmrun.results.folder import RunFolder

SILENT_AFTER = 300  # seconds without a heartbeat, after which a running run counts as interrupted
OUTPUTS = Path("outputs")  # where runs are looked for by name


@dataclass(frozen=True)
class Summary:
    """One line about a run."""

    name: str  # path below the folder that was searched
    status: str  # waiting | running | finished | failed | interrupted | pruned | damaged
    stage: str | None
    progress: float  # part of the stage that is done
    metric: str | None  # the primary metric on the test rows
    value: float | None
    seconds: float | None  # of training
    age: float  # seconds since the run last gave a sign


def find(folder: Path) -> Iterator[RunFolder]:
    """Return the runs at or below a folder, by name. A folder within a run is none."""
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; runs are written below '{OUTPUTS}' unless outputs= says otherwise"
        )
    yield from _find(folder)


def _find(folder: Path) -> Iterator[RunFolder]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    if any(entry.name in ("config.yaml", "status.json") for entry in entries):
        yield RunFolder(folder)
        return
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _find(folder / entry.name)


def resolve(run: str) -> RunFolder:
    """Find the run that a user means: a path, or enough of a name or hash below `outputs` to be the only one."""
    path = Path(run)
    for folder in (path, OUTPUTS / path):
        if (folder / "config.yaml").exists() or (folder / "status.json").exists():
            return RunFolder(folder)
    runs = list(find(OUTPUTS)) if OUTPUTS.is_dir() else []
    meant = [found for found in runs if _means(run, found.name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"'{run}' may be any of {', '.join(str(found.path) for found in meant[:5])}: say more of it")
    raise ConfigError(f"no run '{run}'{nearest(run, [found.name for found in runs])} (`mmrun ls` lists them)")


def _means(words: str, name: str) -> bool:
    return name.startswith(words) or name.rpartition("-")[2].startswith(words)


def status(run: RunFolder) -> dict[str, Any]:
    """Return a run's status as it is now: finished where there are metrics, interrupted where it fell silent."""
    if run.finished:
        return {"status": "finished", "stage": None, "step": 0, "progress": 1.0, "message": None}
    if not run.status_file.exists():  # asked for, by a sweep that did not come to it yet
        return {"status": "waiting", "stage": None, "step": 0, "progress": 0.0, "message": None}
    said = run.status()
    if said["status"] == "running" and time.time() - said["heartbeat"] > SILENT_AFTER:
        said["status"] = "interrupted"
    return said


def summary(run: RunFolder, below: Path) -> Summary:
    """Sum a run up."""
    name = str(run.path.relative_to(below)) if run.path != below else run.name
    age = time.time() - _last_sign(run)
    try:
        said = status(run)
        metrics = run.metrics() if run.finished else None
    except DataError:
        return Summary(name, "damaged", None, 0.0, None, None, None, age)
    if metrics is None:
        return Summary(name, said["status"], said["stage"], said["progress"], None, None, None, age)
    metric, value = primary_metric(metrics)
    return Summary(name, "finished", None, 1.0, metric, value, metrics["cost"]["seconds"], age)


def primary_metric(metrics: dict[str, Any]) -> tuple[str | None, float | None]:
    """Return the first test metric that is not a loss; that of a single modality only if there is no other."""
    test = metrics["metrics"].get("test", {})  # a data set may have no test rows
    figures = [name for name in test if not name.startswith("loss")]
    whole = [name for name in figures if "/" not in name]
    for name in whole or figures:
        return name, test[name]
    return None, None


def _last_sign(run: RunFolder) -> float:
    for file in (run.metrics_file, run.status_file, run.config_file):
        if file.exists():
            return file.stat().st_mtime
    return run.path.stat().st_mtime
