"""Finds runs below a folder, and sums each one up in a line. It reads JSON only, so thousands of runs are quick."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmrun.errors import ConfigError, MmrunError, nearest
from mmrun.known_metrics import is_higher_better, strip_metric
from mmrun.processes import is_alive
from mmrun.results.folder import RunFolder
from mmrun.results.schema import RunMetrics, RunStatus

SILENT_AFTER = 300  # seconds without a heartbeat after which a run of another machine counts as killed
OUTPUTS = Path("outputs")  # where runs are looked up by name
FAILED = ("failed", "killed", "damaged")  # statuses of runs that ended without a result
RUN_FILES = ("config.yaml", "status.json")  # either makes a folder a run folder
MAX_CANDIDATES = 5  # runs that an error names


@dataclass(frozen=True)
class RunSummary:
    """One line about a run.

    Attributes:
        name: path below the folder that was searched.
        status: waiting | running | finished | failed | interrupted | killed | pruned | damaged.
        stage: being trained, or the last that was.
        progress: part of the stage that is done, 0 to 1.
        metric: the primary metric.
        value: of that metric on the test rows.
        seconds: of training.
        modified: when the run last wrote a file, in seconds since 1970; None for a damaged run.
        reason: why a run is damaged.
    """

    name: str
    status: str
    stage: str | None
    progress: float
    metric: str | None
    value: float | None
    seconds: float | None
    modified: float | None
    reason: str | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the run last wrote a file."""
        return None if self.modified is None else time.time() - self.modified


def find_runs(folder: Path) -> Iterator[RunFolder]:
    """Yield the runs at or below a folder, by name; a run folder is not searched for further runs.

    Args:
        folder: to search. Hidden folders in it are skipped, and a link is followed only if it leads to a run itself.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; runs are written below '{OUTPUTS}' unless outputs= names another folder"
        )
    remaining = [folder]
    while remaining:
        current = remaining.pop()
        try:
            with os.scandir(current) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        except OSError:  # no permission, or too long a path: reading it as a run says why
            yield RunFolder(current)
            continue
        if any(entry.name in RUN_FILES for entry in entries):
            yield RunFolder(current)
        else:
            remaining += [current / entry.name for entry in entries if _is_searched(entry)]


def _is_searched(entry: "os.DirEntry[str]") -> bool:
    """Return whether runs may lie in an entry of a folder; links could lead in circles or through a whole disk."""
    if entry.name.startswith("."):
        return False
    if entry.is_symlink():
        return any(os.path.lexists(os.path.join(entry.path, file)) for file in RUN_FILES)
    return entry.is_dir()


def resolve(run: str) -> RunFolder:
    """Find the run that a user names.

    Args:
        run: a path, or the beginning of a name or hash that only one run below `outputs` has.

    Raises:
        ConfigError: no run or several runs fit.
    """
    path = Path(run)
    for folder in (path, OUTPUTS / path):
        if any((folder / file).exists() for file in RUN_FILES):
            return RunFolder(folder)
    runs = list(find_runs(OUTPUTS)) if OUTPUTS.is_dir() else []
    candidates = [candidate for candidate in runs if _matches(run, candidate.name)]
    shortest = min(candidates, key=lambda candidate: len(candidate.name), default=None)
    if shortest is not None and all(candidate.name.startswith(shortest.name) for candidate in candidates):
        return shortest  # the others are compressed from it
    if candidates:
        paths = ", ".join(str(candidate.path) for candidate in candidates[:MAX_CANDIDATES])
        raise ConfigError(f"'{run}' fits several runs: {paths}; type more of the name")
    raise ConfigError(f"no run '{run}'{nearest(run, [folder.name for folder in runs])} (`mmrun ls` lists them)")


def _matches(beginning: str, name: str) -> bool:
    """Return whether a run's name or hash begins so."""
    return name.startswith(beginning) or name.rpartition("-")[2].startswith(beginning)


def determine_status(run: RunFolder) -> RunStatus:
    """Return the status of a run at this moment.

    Returns:
        What status.json holds, except that a run with metrics is finished, one without the file is waiting, and a
        running one is killed where its process is dead: known at once on this machine, elsewhere after SILENT_AFTER
        seconds without a heartbeat.
    """
    if run.finished:
        return {"status": "finished", "stage": None, "step": 0, "progress": 1.0, "message": None}
    if not run.status_file.exists():  # requested by a sweep that has not started it yet
        return {"status": "waiting", "stage": None, "step": 0, "progress": 0.0, "message": None}
    status = run.status.read()
    if status["status"] == "running" and not _is_alive(status):
        status["status"] = "killed"
    return status


def _is_alive(status: RunStatus) -> bool:
    """Return whether the process that wrote a status still runs, as far as that can be known."""
    alive = is_alive(status["process"]) if "process" in status else None
    return time.time() - status.get("heartbeat", 0.0) <= SILENT_AFTER if alive is None else alive


def read_summary(run: RunFolder, below: Path) -> tuple[RunSummary, RunMetrics | None]:
    """Sum up a run in one line, and return its metrics too.

    Args:
        run: its folder.
        below: the folder that was searched; the name is relative to it.

    Returns:
        The summary, and what metrics.json holds; None unless the run is finished. A run whose files cannot be read has
        the status `damaged`.
    """
    name = str(run.path.relative_to(below)) if run.path != below else run.name
    try:
        modified = _last_modified(run)
        status = determine_status(run)
        metrics = run.read_metrics() if run.finished else None
    except (MmrunError, OSError) as error:
        return describe_damaged_run(name, run, error), None
    if metrics is None:
        return RunSummary(name, status["status"], status["stage"], status["progress"], None, None, None, modified), None
    metric, value = find_primary_metric(metrics)
    return RunSummary(name, "finished", None, 1.0, metric, value, metrics["cost"]["seconds"], modified), metrics


def describe_damaged_run(name: str, run: RunFolder, error: MmrunError | OSError) -> RunSummary:
    """Return the line of a run whose files cannot be read.

    Args:
        name: of the run in a list.
        run: its folder.
        error: raised by reading it.
    """
    return RunSummary(name, "damaged", None, 0.0, None, None, None, None, explain_damage(run, error))


def explain_damage(run: RunFolder, error: MmrunError | OSError) -> str:
    """Return what is wrong with a run's files, relative to its folder and without the remedy.

    Args:
        run: its folder.
        error: raised by reading it.
    """
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    return str(error).removeprefix(f"{run.path}{os.sep}").partition("; ")[0].replace(": damaged, ", ": ")


def find_primary_metric(metrics: RunMetrics) -> tuple[str | None, float | None]:
    """Return the metric that represents a run, and its value on the test rows.

    Returns:
        The first test metric that is not a loss, that of a probe only where there is no other; None twice without any.
    """
    test = metrics["metrics"].get("test", {})  # a data set may have no test rows
    names = [name for name in test if not name.startswith("loss")]
    if not names:
        return None, None
    primary = next((name for name in names if "/" not in name), names[0])
    return primary, test[primary]


def is_lower_better(metric: str) -> bool:
    """Return whether lower values of a metric are better.

    Args:
        metric: its name, without the split: accuracy, label.accuracy/image, mse.
    """
    return is_higher_better(strip_metric(metric)) is False


def _last_modified(run: RunFolder) -> float:
    """Return when a run last wrote a file, in seconds since 1970."""
    for file in (run.metrics_file, run.status_file, run.config_file):
        if file.exists():
            return file.stat().st_mtime
    return run.path.stat().st_mtime
