"""Runs handed to Hydra's launcher: one after the other in this process, in several processes, or to a cluster.

A job is only the path of a run folder, and the folder says what is asked for. So a sweep that is killed leaves nothing
but runs: finished, half done, waiting.
"""

import json
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from mmrun import compose
from mmrun.config import RunConfig
from mmrun.errors import ConfigError, MmrunError, nearest
from mmrun.hydra_internals import UserConfigs, build_launcher
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.results.index import determine_status

EXTRAS = {"joblib": "parallel", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # launcher -> what brings it


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    overrides: list[str]
    config: RunConfig
    folder: RunFolder

    @classmethod
    def of(cls, overrides: Sequence[str]) -> "SweepRun":
        """Compose a run."""
        config = compose.load(overrides)
        return cls(list(overrides), config, RunFolder(run_folder_path(compose.as_dict(config))))


class Launcher:
    """Hydra's launcher, as `hydra/launcher=NAME` and `hydra.launcher.KEY=VALUE` choose it."""

    def __init__(self, overrides: Sequence[str], folder: Path) -> None:
        node = {
            "job": "",
            "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
            "hydra": {"output_subdir": None, "sweep": {"dir": str(folder), "subdir": "."}},
        }
        try:
            self.launcher, name = build_launcher(node, overrides, job)
        except MissingConfigException as error:
            raise ConfigError(_missing(str(error.missing_cfg_file), error.options or [])) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).splitlines()[0]) from None
        self.folder = folder
        self.one_by_one = name == "basic"  # on this terminal

    def launch(
        self, sweep_runs: Sequence[SweepRun], rerun: bool = False, trials: Sequence[Mapping[str, Any] | None] = ()
    ) -> dict[Path, str]:
        """Train the runs that are not finished, and give by folder why some failed.

        `trials`: for each run of a search, what a `search.trials.Report` is made of.
        """
        jobs = {}
        for number, (sweep_run, trial) in enumerate(
            zip(sweep_runs, trials or [None] * len(sweep_runs), strict=True), start=1
        ):
            if rerun or not sweep_run.folder.finished:
                sweep_run.folder.write_request(compose.as_dict(sweep_run.config), sweep_run.overrides)
                at = f"{number} of {len(sweep_runs)}"
                path = sweep_run.folder.path
                jobs[path] = {"run": str(path), "at": at, "rerun": rerun, "live": self.one_by_one, "trial": trial}
        reasons: dict[Path, str] = {}
        while jobs:
            began = time.time()
            try:
                returned = self.launcher.launch([[f"job={_quoted(job)}"] for job in jobs.values()], initial_job_idx=0)
                reasons |= {path: said.return_value for path, said in zip(jobs, returned, strict=True)}
                break
            except BrokenProcessPool as error:  # a worker was killed, and the others with it: go on with the rest
                _note(f"a process was killed: {str(error).splitlines()[0]}")
                rest = {path: job for path, job in jobs.items() if not _touched(RunFolder(path), began)}
                jobs = rest if len(rest) < len(jobs) else {}
            except Exception as error:  # of the launcher: what became of the runs stands in their folders
                _note(f"the launcher gave up: {type(error).__name__}: {error}")
                break
        return {path: reason for path, reason in reasons.items() if reason is not None}


def job(sweep: DictConfig) -> str | None:
    """Train one run in whatever process the launcher chose, and return the reason if it failed."""
    from mmrun.cli.terminal import Terminal
    from mmrun.run.pipeline import run
    from mmrun.run.session import Pruned
    from mmrun.training.callback import CallbackList

    request = json.loads(sweep.job)
    folder = RunFolder(request["run"])
    overrides, config = folder.read_overrides(), compose.restore(folder.read_config())
    with Terminal(request["live"] and config.trainer.progress) as terminal:
        callback = CallbackList([terminal])
        if request["trial"] is not None:
            from mmrun.cli.pruning import Pruning  # imports Optuna, an extra

            callback.callbacks.append(Pruning(folder, request["trial"]))
        terminal.on_message(f"run {request['at']}")
        try:
            run(config, callback, overrides, request["rerun"], folder, wait=True)
        except Pruned as reason:
            terminal.on_message(f"pruned: {reason}")
        except MmrunError as error:
            terminal.on_message(f"failed: {error}")
            return f"{type(error).__name__}: {error}"
        except Exception as error:
            terminal.console.print_exception()
            return f"{type(error).__name__}: {error}"
    return None


def check(configs: Iterable[RunConfig]) -> None:
    """Check each run that differs in more than its seed, before the first one trains."""
    from mmrun.run.build import check

    checked = set()
    for config in configs:
        told = json.dumps({**compose.as_dict(config), "seed": None}, sort_keys=True)
        if told not in checked:
            check(config)
            checked.add(told)


def why(sweep_run: SweepRun, reasons: Mapping[Path, str]) -> str:
    """Return why a run is not finished."""
    if sweep_run.folder.path in reasons:
        return f"failed: {reasons[sweep_run.folder.path]}"
    said = determine_status(sweep_run.folder)
    return {
        "failed": f"failed: {said['message']}",
        "running": "not finished: its process died, or still runs",
        "waiting": "not finished: it never began",
    }.get(said["status"], said["status"])


def command(overrides: Sequence[str]) -> str:
    """Return the command for one run."""
    folders = [folder for folder in UserConfigs.folders if folder != Path.cwd() / "configs"]
    return shlex.join(["mmrun", "train", *(f"--config-dir={folder}" for folder in folders), *overrides])


def _touched(folder: RunFolder, since: float) -> bool:
    return folder.finished or (folder.status_file.exists() and folder.status_file.stat().st_mtime >= since)


def _quoted(job: Mapping[str, Any]) -> str:
    return QuotedString(json.dumps(job, ensure_ascii=False), Quote.single).with_quotes()


def _missing(file: str, known: Sequence[str]) -> str:
    group, _, name = file.rpartition("/")
    if group == "hydra/launcher" and name in EXTRAS:
        return f"hydra/launcher={name} is not installed; pip install 'mmrun[{EXTRAS[name]}]'"
    return f"{group}: no option '{name}'{nearest(name, known)} (there are {', '.join(known)})"


def _note(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
