"""Hydra's launchers train the runs of a sweep: on a cluster, or wherever a plugin sends them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mmrun.cli.job import Job, train_job
from mmrun.errors import ConfigError, nearest
from mmrun.hydra_internals import build_launcher
from mmrun.installation import format_pip_command

# launcher -> the package that brings it
EXTRAS = {"submitit_local": "hydra-submitit-launcher", "submitit_slurm": "hydra-submitit-launcher"}


class HydraLauncher:
    """A launcher of Hydra, chosen by `hydra/launcher=NAME` and `hydra.launcher.KEY=VALUE`.

    Args:
        overrides: that choose it.
        folder: for its own files.
        report: receives messages for the user.

    Raises:
        ConfigError: there is no such launcher, or it is not installed.
    """

    def __init__(self, overrides: Sequence[str], folder: Path, report: Callable[[str], None]) -> None:
        self.report = report
        node = {
            "job": "",
            "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
            "hydra": {"output_subdir": None, "sweep": {"dir": str(folder), "subdir": "."}},
        }
        try:
            self.launcher = build_launcher(node, overrides, run_job)
        except MissingConfigException as error:
            raise ConfigError(_explain_missing(str(error.missing_cfg_file), error.options or [])) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).splitlines()[0]) from None

    def train(self, jobs: Mapping[Path, Job]) -> dict[Path, str | None]:
        """Train runs.

        Args:
            jobs: by run folder.

        Returns:
            For each run, why it failed; None: it did not. Nothing is known where the launcher itself failed: the run
            folders tell how far each run came.
        """
        overrides = [[f"job={_quote(job)}"] for job in jobs.values()]
        try:
            returned = self.launcher.launch(overrides, initial_job_idx=0)
            return {path: job.return_value for path, job in zip(jobs, returned, strict=True)}
        except Exception as error:  # any that a plugin raises
            self.report(f"the launcher failed: {type(error).__name__}: {error}")
            return {}

    def close(self) -> None:
        """Do nothing: a launcher of Hydra ends its own processes."""


def run_job(config: DictConfig) -> str | None:
    """Train one run, in the process that the launcher chose.

    Args:
        config: of the launcher; `job` is a `Job` as JSON.

    Returns:
        The reason if the run failed, else None.
    """
    job: Job = json.loads(config.job)
    return train_job(job)


def _quote(job: Job) -> str:
    return str(QuotedString(json.dumps(job, ensure_ascii=False), Quote.single).with_quotes())


def _explain_missing(file: str, options: Sequence[str]) -> str:
    group, _, name = file.rpartition("/")
    if group == "hydra/launcher" and name == "joblib":
        return "hydra/launcher=joblib is not installed; --jobs N trains N runs at a time on this machine"
    if group == "hydra/launcher" and name in EXTRAS:
        return f"hydra/launcher={name} is not installed; {format_pip_command('install', EXTRAS[name])}"
    return f"{group}: no option '{name}'{nearest(name, options)} (there are {', '.join(options)})"
