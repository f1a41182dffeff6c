"""Launches the runs of a sweep through Hydra's launcher: in this process, in several, or on a cluster.

A job is only the path of a run folder, in which the config of the run is stored. So a killed sweep leaves nothing but
runs: finished, interrupted or waiting.
"""

import json
import shlex
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mmrun import compose
from mmrun.cli.console import Console
from mmrun.cli.output import is_quiet, set_quiet
from mmrun.cli.progress import SweepPosition
from mmrun.config import RunConfig
from mmrun.errors import ConfigError, MmrunError, nearest
from mmrun.hydra_internals import UserConfigs, build_launcher
from mmrun.installation import format_pip_command
from mmrun.quoting import quote_values
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.results.index import determine_status

if TYPE_CHECKING:
    from mmrun.cli.terminal import Terminal  # imports torch

# launcher -> the package that brings it
EXTRAS = {"submitit_local": "hydra-submitit-launcher", "submitit_slurm": "hydra-submitit-launcher"}

TrialArguments = Mapping[str, Any]  # of `search.trials.Report`


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
    def compose(cls, overrides: Sequence[str]) -> "SweepRun":
        """Compose a run.

        Args:
            overrides: without comma-separated values.

        Raises:
            ConfigError: an override does not fit.
        """
        config = compose.load(overrides)
        return cls(list(overrides), config, RunFolder(run_folder_path(compose.as_dict(config))))


class JobRun(TypedDict):
    """One run of a job.

    Attributes:
        run: path of the run folder.
        position: fields of a `SweepPosition`.
        trial: of a search, which may prune the run.
    """

    run: str
    position: dict[str, Any]
    trial: TrialArguments | None


class Job(TypedDict):
    """What the process that trains a run, or several together, is told.

    Attributes:
        runs: one, or those that train together.
        rerun: repeat runs that are finished.
        quiet: print errors only.
        in_worker: the job runs in another process than the command.
    """

    runs: list[JobRun]
    rerun: bool
    quiet: bool
    in_worker: bool


class Launcher:
    """Hydra's launcher, chosen by `hydra/launcher=NAME` and `hydra.launcher.KEY=VALUE`.

    Args:
        overrides: that choose it.
        folder: for its own files.

    Raises:
        ConfigError: there is no such launcher, or it is not installed.
    """

    def __init__(self, overrides: Sequence[str], folder: Path) -> None:
        node = {
            "job": "",
            "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
            "hydra": {"output_subdir": None, "sweep": {"dir": str(folder), "subdir": "."}},
        }
        try:
            self.launcher, name = build_launcher(node, overrides, run_job)
        except MissingConfigException as error:
            raise ConfigError(_explain_missing(str(error.missing_cfg_file), error.options or [])) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).splitlines()[0]) from None
        self.folder = folder
        self.is_sequential = name == "basic"  # in this process, on this terminal

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
        jobs = self._prepare_jobs(sweep_runs, rerun, trials or [None] * len(sweep_runs))
        # A run in this process handles signals itself; here they are handled between runs, and for other processes.
        with handle_signals(_print_note, forward=not self.is_sequential):
            results = self._launch(jobs)
        return {path: reason for path, reason in results.items() if reason is not None}

    def _launch(self, jobs: list[Job]) -> dict[Path, str | None]:
        """Launch jobs, and those that a killed worker took with it again; return the reasons of failures."""
        results: dict[Path, str | None] = {}
        while jobs:
            started = time.time()
            overrides = [[f"job={_quote(job)}"] for job in jobs]
            try:
                returned = self.launcher.launch(overrides, initial_job_idx=0)
                for job in returned:
                    results |= {Path(path): reason for path, reason in job.return_value.items()}
                break
            except BrokenProcessPool as error:  # a killed worker takes the others with it: launch the remaining jobs
                _print_note(f"a process was killed: {str(error).splitlines()[0]}")
                remaining = [job for job in jobs if not _was_trained(job, started)]
                jobs = remaining if len(remaining) < len(jobs) else []
            except Exception as error:  # of the launcher: the run folders tell how far each run came
                _print_note(f"the launcher failed: {type(error).__name__}: {error}")
                break
        return results

    def _prepare_jobs(
        self, sweep_runs: Sequence[SweepRun], rerun: bool, trials: Sequence[TrialArguments | None]
    ) -> list[Job]:
        """Write the run folder of each run to train, and return the jobs."""
        numbered = zip(range(1, len(sweep_runs) + 1), sweep_runs, trials, strict=True)
        to_train = [item for item in numbered if rerun or not item[1].folder.finished]
        groups = [[index] for index in range(len(to_train))]
        if any(run.config.trainer.vectorize for _, run, _ in to_train):
            from mmrun.run.vectorized_groups import group_runs  # imports torch

            groups, messages = group_runs([run.config for _, run, _ in to_train])
            for message in messages:
                _print_note(message)
        jobs: list[Job] = []
        began = time.monotonic()
        for group in groups:
            runs: list[JobRun] = []
            for index in group:
                number, run, trial = to_train[index]
                run.folder.write_request(compose.as_dict(run.config), run.overrides)
                is_parallel = len(group) > 1 or not self.is_sequential
                position = SweepPosition(number, len(sweep_runs), index, len(to_train), began, is_parallel)
                runs.append({"run": str(run.folder.path), "position": asdict(position), "trial": trial})
            jobs.append({"runs": runs, "rerun": rerun, "quiet": is_quiet(), "in_worker": not self.is_sequential})
        return jobs


def run_job(sweep: DictConfig) -> dict[str, str | None]:
    """Train the runs of a job, in the process that the launcher chose.

    Args:
        sweep: the composed config of the launcher; `job` is a `Job` as JSON.

    Returns:
        By path of the run folder, the reason if the run failed, else None.
    """
    job: Job = json.loads(sweep.job)
    set_quiet(job["quiet"])  # this may be another process than the one that read the command line
    try:
        if len(job["runs"]) > 1:
            return _train_together(job)
        (run,) = job["runs"]
        return {run["run"]: _train_one(run, job["rerun"])}
    except KeyboardInterrupt:
        if job["in_worker"]:  # the process that waits for these runs to stop shall see that they have
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


def _train_one(run: JobRun, rerun: bool) -> str | None:
    """Train one run; return the reason if it failed."""
    from mmrun.cli.terminal import Terminal
    from mmrun.run import pipeline
    from mmrun.training.callback import CallbackList

    folder = RunFolder(run["run"])
    overrides, config = folder.read_overrides(), compose.restore(folder.read_config())
    position = SweepPosition(**run["position"])
    with Terminal.for_run(config, position) as terminal:
        callback = CallbackList([terminal])
        if run["trial"] is not None:
            from mmrun.cli.pruning import Pruning  # here: it imports Optuna, which takes a second

            callback.callbacks.append(Pruning(folder, run["trial"]))
        try:
            pipeline.run(config, callback, overrides, rerun, folder, wait=True)
        except Exception as error:
            return _report_failure(terminal, error)
    return None


def _train_together(job: Job) -> dict[str, str | None]:
    """Train several runs as one computation; return the reason of each failure."""
    from mmrun.cli.terminal import Terminal
    from mmrun.run.vectorized import Sibling, run_together

    siblings, terminals = [], []
    for run in job["runs"]:
        folder = RunFolder(run["run"])
        config = compose.restore(folder.read_config())
        terminals.append(Terminal.for_run(config, SweepPosition(**run["position"])))
        siblings.append(Sibling(config, folder, folder.read_overrides(), terminals[-1], job["rerun"]))
    try:
        run_together(siblings)
    except Exception as error:  # of all runs
        for sibling in siblings:
            if sibling.trains:
                sibling.error = error
    reasons: dict[str, str | None] = {}
    for sibling, terminal in zip(siblings, terminals, strict=True):
        failure = sibling.error
        reasons[str(sibling.folder.path)] = None if failure is None else _report_failure(terminal, failure)
    return reasons


def _report_failure(terminal: "Terminal", error: Exception) -> str | None:
    """Print why a run ended early, and return the reason if it failed."""
    from mmrun.run.session import Pruned

    if isinstance(error, Pruned):
        terminal.on_message(f"pruned: {error}")
        return None
    if isinstance(error, MmrunError):
        terminal.on_failure(str(error))
    else:
        from rich.traceback import Traceback

        terminal.console.print(Traceback.from_exception(type(error), error, error.__traceback__))
    return f"{type(error).__name__}: {error}"


def check_configs(configs: Iterable[RunConfig]) -> list[str]:
    """Build what each run needs before the first one is trained, so that errors are raised early.

    Args:
        configs: of the runs; of those that differ only in their seed, one is checked.

    Returns:
        Notes about the data, each once.

    Raises:
        MmrunError: a run cannot be built.
    """
    from mmrun.run.early_checks import check_early

    configs = list(configs)
    for config in configs:
        check_early(config)
    from mmrun.run.checks import check  # imports torch, which takes seconds

    checked, notes = set(), dict[str, None]()
    for config in configs:
        without_seed = json.dumps({**compose.as_dict(config), "seed": None}, sort_keys=True)
        if without_seed not in checked:
            notes.update(dict.fromkeys(check(config)))
            checked.add(without_seed)
    return list(notes)


def check_data(sweep_runs: Iterable[SweepRun]) -> None:
    """Check that the data of runs that were started before have not changed. Each data set is opened once.

    Args:
        sweep_runs: the runs.

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

    Args:
        overrides: of the run.

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


def _was_trained(job: Job, since: float) -> bool:
    """Return whether a job began to train since some time: each of its runs is finished, or has a newer status."""
    folders = [RunFolder(run["run"]) for run in job["runs"]]
    return all(folder.finished or _has_status_since(folder, since) for folder in folders)


def _has_status_since(folder: RunFolder, since: float) -> bool:
    return folder.status_file.exists() and folder.status_file.stat().st_mtime >= since


def _quote(job: Job) -> str:
    return str(QuotedString(json.dumps(job, ensure_ascii=False), Quote.single).with_quotes())


def _explain_missing(file: str, options: Sequence[str]) -> str:
    group, _, name = file.rpartition("/")
    if group == "hydra/launcher" and name in EXTRAS:
        return f"hydra/launcher={name} is not installed; {format_pip_command('install', EXTRAS[name])}"
    return f"{group}: no option '{name}'{nearest(name, options)} (there are {', '.join(options)})"


def _print_note(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
