"""Launches the runs of a sweep: in this process, in several, or on a cluster.

A job is only the path of a run folder, in which the config of the run is stored. So a killed sweep leaves nothing but
runs: finished, interrupted or waiting.
"""

import json
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmrun import compose
from mmrun.cli.console import Console
from mmrun.cli.hydra_launcher import HydraLauncher
from mmrun.cli.job import Job, TrialArguments, train_job
from mmrun.cli.output import is_quiet
from mmrun.cli.progress import SweepPosition
from mmrun.cli.vectorized_jobs import group_jobs, train_jobs_together
from mmrun.cli.workers import Workers, count_free_cores
from mmrun.config import RunConfig
from mmrun.errors import ConfigError
from mmrun.hydra_internals import UserConfigs
from mmrun.quoting import quote_values
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.results.index import determine_status

if TYPE_CHECKING:
    from mmrun.run.last_data import LastData  # imports torch


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        overrides: of this run.
        config: composed from them.
        folder: its run folder, which may not exist yet.
    """

    overrides: list[str]
    config: RunConfig
    folder: RunFolder

    @classmethod
    def compose(cls, overrides: Sequence[str], composer: compose.Composer | None = None) -> "SweepRun":
        """Compose a run.

        Args:
            overrides: without comma-separated values.
            composer: of the other runs of the sweep; None: this run is alone.

        Raises:
            ConfigError: an override does not fit.
        """
        config = (composer or compose.Composer()).load(overrides)
        return cls(list(overrides), config, RunFolder(run_folder_path(compose.as_dict(config))))


class Executor(Protocol):
    """Where the runs of a sweep are trained: in this process, in several, or through a launcher of Hydra."""

    def train(self, jobs: Mapping[Path, Job]) -> dict[Path, str | None]:
        """Train runs, by folder, and return why each failed; None: it did not."""

    def close(self) -> None:
        """End the processes that were started."""


class ThisProcess:
    """Trains one run after the other in this process, on this terminal.

    Where `trainer.vectorize` asks for it, some train together: as one computation, or else in a process each, one per
    free core.
    """

    def __init__(self) -> None:
        self._last_data: LastData | None = None

    def train(self, jobs: Mapping[Path, Job]) -> dict[Path, str | None]:
        """Train runs, by folder, and return why each failed; None: it did not."""
        from mmrun.run.last_data import LastData  # here: it imports torch

        reasons: dict[Path, str | None] = {}
        for group in group_jobs(jobs.values(), _print_note):
            self._last_data = self._last_data or LastData()
            if len(group) > 1:
                reasons |= self._train_together(group, self._last_data)
            else:
                reasons[Path(group[0]["run"])] = train_job(group[0], self._last_data)
        return reasons

    def _train_together(self, jobs: Sequence[Job], last_data: "LastData") -> dict[Path, str | None]:
        from mmrun.training.vectorized.stackable import NotStackableError

        try:
            return train_jobs_together(jobs, last_data)
        except NotStackableError as error:
            num_processes = min(count_free_cores(), len(jobs))
            how = "one after another" if num_processes == 1 else f"{num_processes} at a time, in a process each"
            _print_note(f"trainer.vectorize: {len(jobs)} runs train {how}: {error}")
        if num_processes == 1:
            return {Path(job["run"]): train_job(job, last_data) for job in jobs}
        self._last_data = None  # the processes need the memory
        return _train_in_processes(jobs, num_processes)

    def close(self) -> None:
        """Do nothing: no process was started."""


def _train_in_processes(jobs: Sequence[Job], num_processes: int) -> dict[Path, str | None]:
    """Train runs in several processes, which end afterwards."""
    from mmrun.run.interruption import handle_signals

    parallel_jobs: dict[Path, Job] = {}
    for job in jobs:
        parallel_jobs[Path(job["run"])] = {**job, "position": {**job["position"], "is_parallel": True}}
    workers = Workers(num_processes, _print_note)
    try:
        with handle_signals(_print_note, forward=True):
            return workers.train(parallel_jobs)
    finally:
        workers.close()


class Launcher:
    """Trains the runs of a sweep that are not finished.

    Args:
        overrides: that choose a launcher of Hydra.
        folder: for the files of the sweep.
        num_jobs: runs that train at a time on this machine.

    Raises:
        ConfigError: there is no such launcher, it is not installed, or runs cannot train side by side here.
    """

    def __init__(self, overrides: Sequence[str], folder: Path, num_jobs: int = 1) -> None:
        if num_jobs > 1 and overrides:
            raise ConfigError(f"--jobs trains on this machine; leave out {overrides[0]}, or --jobs")
        if num_jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("--jobs: torchrun trains each run in all of its processes; leave one of the two out")
        self.folder = folder
        self.is_sequential = num_jobs == 1 and not overrides
        self.executor: Executor = ThisProcess()
        if overrides:
            self.executor = HydraLauncher(overrides, folder, _print_note)
        elif num_jobs > 1:
            self.executor = Workers(num_jobs, _print_note)

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *error: object) -> None:
        self.executor.close()

    def launch(
        self, sweep_runs: Sequence[SweepRun], rerun: bool = False, trials: Sequence[TrialArguments | None] = ()
    ) -> dict[Path, str]:
        """Train the runs that are not finished.

        Args:
            sweep_runs: all runs.
            rerun: train finished ones again.
            trials: for each run of a search, the arguments of `search.trials.Report`; None: it is not pruned.

        Returns:
            The reason of each failure, by run folder.

        Raises:
            DataError: the data of a run that was started before have changed; no run is trained.
        """
        from mmrun.run.interruption import handle_signals

        if not rerun:
            check_data(sweep_runs)
        if (trials or not self.is_sequential) and any(sweep_run.config.trainer.vectorize for sweep_run in sweep_runs):
            _print_note("trainer.vectorize: trials, and runs of several processes, train alone")
        jobs = self._prepare_jobs(sweep_runs, rerun, trials or [None] * len(sweep_runs))
        # A run in this process handles signals itself; here they are handled between runs, and for other processes.
        with handle_signals(_print_note, forward=not self.is_sequential):
            reasons = self.executor.train(jobs)
        return {path: reason for path, reason in reasons.items() if reason is not None}

    def _prepare_jobs(
        self, sweep_runs: Sequence[SweepRun], rerun: bool, trials: Sequence[TrialArguments | None]
    ) -> dict[Path, Job]:
        """Write the run folder of each run to train, and return the jobs by run folder."""
        jobs: dict[Path, Job] = {}
        count = sum(rerun or not sweep_run.folder.finished for sweep_run in sweep_runs)
        began = time.monotonic()
        for number, (sweep_run, trial) in enumerate(zip(sweep_runs, trials, strict=True), start=1):
            folder = sweep_run.folder
            if rerun or not folder.finished:
                folder.write_request(compose.as_dict(sweep_run.config), sweep_run.overrides)
                position = SweepPosition(number, len(sweep_runs), len(jobs), count, began, not self.is_sequential)
                jobs[folder.path] = {
                    "run": str(folder.path),
                    "position": asdict(position),
                    "rerun": rerun,
                    "quiet": is_quiet(),
                    "trial": trial,
                }
        return jobs


def check_configs(configs: Iterable[RunConfig]) -> list[str]:
    """Build what each run needs before the first one is trained, so that errors are raised early.

    Returns:
        Notes about the data, each once.

    Raises:
        MmrunError: a run cannot be built.
    """
    from mmrun.run.early_checks import check_early

    configs = list(configs)
    for config in configs:
        check_early(config)
    from mmrun.run.checks import check_sweep  # imports torch, which takes seconds

    return check_sweep(configs)


def check_data(sweep_runs: Iterable[SweepRun]) -> None:
    """Check that the data of runs that were started before have not changed. Each data set is opened once.

    Raises:
        DataError: the data of a run have changed.
    """
    from mmrun.run import data_identity
    from mmrun.run.data import open_file_digests, open_table

    by_dataset: dict[str, list[SweepRun]] = {}
    for sweep_run in sweep_runs:
        if sweep_run.folder.finished or sweep_run.folder.data_file.exists():
            by_dataset.setdefault(json.dumps(sweep_run.config.dataset, sort_keys=True), []).append(sweep_run)
    for same_data in by_dataset.values():
        config = same_data[0].config
        files = open_file_digests(config)
        table = open_table(config, files)
        for sweep_run in same_data:
            data_identity.check_data(sweep_run.folder, table, files)


def explain_unfinished(sweep_run: SweepRun, reasons: Mapping[Path, str]) -> str:
    """Explain why a run is not finished.

    Args:
        sweep_run: the run.
        reasons: what `Launcher.launch` returned.
    """
    if sweep_run.folder.path in reasons:
        return f"failed: {reasons[sweep_run.folder.path]}"
    state = determine_status(sweep_run.folder)
    explanations = {
        "failed": f"failed: {state['message']}",
        "killed": "not finished: its process was killed",
        "running": "not finished: another process trains it",
        "waiting": "not finished: it was never started",
    }
    return explanations.get(state["status"], str(state["status"]))


def format_command(overrides: Sequence[str]) -> str:
    """Format the command that trains one run.

    Returns:
        A line for the shell.
    """
    folders = [folder for folder in UserConfigs.folders if folder != Path.cwd() / "configs"]
    typed = map(_drop_quotes, overrides)
    return shlex.join(["mmrun", "train", *(f"--config-dir={folder}" for folder in folders), *typed])


def _drop_quotes(override: str) -> str:
    """Return an override without the quotes that mmrun would add to it again."""
    key, _, value = override.partition("=")
    typed = f"{key}={value[1:-1]}"
    return typed if quote_values([typed]) == [override] else override


def _print_note(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
