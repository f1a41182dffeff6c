"""mmrun train -m: many runs from one command. Hydra launches them: one after the other, or as its launcher does."""

import json
import shlex
import sys
from collections.abc import Sequence

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console

from mmrun import compose
from mmrun.config import RunConfig
from mmrun.errors import MmrunError
from mmrun.runs.folder import RunFolder, where
from mmrun.runs.index import headline


def sweep(words: Sequence[str], again: bool) -> int:
    """Compose and check every run, train what is not finished, and say at the end what became of each."""
    launch = [word for word in words if word.lstrip("+~").startswith("hydra")]
    jobs = compose.expand([word for word in words if word not in launch])
    configs = [compose.load(job) for job in jobs]
    _check(configs)
    Console(stderr=True).print(f"a sweep of {len(jobs)} runs", highlight=False)
    node = {
        "job": 0,
        "jobs": [
            {"words": words, "config": compose.as_dict(config)} for words, config in zip(jobs, configs, strict=True)
        ],
        "again": again,
        "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
        "hydra": {
            "output_subdir": None,
            "sweep": {"dir": f"{configs[0].outputs}/.sweeps", "subdir": "${hydra:job.num}"},
        },
    }
    ConfigStore.instance().store("mmrun_sweep", node)
    sys.argv = ["mmrun", "--multirun", f"job=range({len(jobs)})", *launch]
    hydra.main(version_base="1.3", config_path=None, config_name="mmrun_sweep")(job)()
    return _report(jobs, [RunFolder(where(compose.as_dict(config))) for config in configs])


def _check(configs: Sequence[RunConfig]) -> None:
    """Check each run that differs in more than its seed, before the first one trains."""
    from mmrun.run import check

    checked = set()
    for config in configs:
        told = json.dumps({**compose.as_dict(config), "seed": None}, sort_keys=True)
        if told not in checked:
            check(config)
            checked.add(told)


def job(sweep: DictConfig) -> None:
    """Train one run of a sweep, in whatever process the launcher chose; a failure is kept for the report."""
    from mmrun.cli.terminal import Terminal
    from mmrun.run import run

    words, config = list(sweep.jobs[sweep.job].words), compose.restore(sweep.jobs[sweep.job].config)
    with Terminal(live=config.trainer.progress) as terminal:
        try:
            run(config, terminal, words, sweep.again)
        except MmrunError as error:
            terminal.note(f"failed: {error}")
        except Exception:
            terminal.console.print_exception()


def _report(jobs: Sequence[Sequence[str]], folders: Sequence[RunFolder]) -> int:
    console = Console()
    failed = 0
    for words, folder in zip(jobs, folders, strict=True):
        if folder.finished:
            figure, value = headline(folder.metrics())
            shown = "" if value is None else f"test/{figure} {value:.4f}"
            console.print(f"{folder.path}  {shown}", highlight=False, soft_wrap=True)
            continue
        failed += 1
        reason = folder.status()["message"] if folder.status_file.exists() else "it never began"
        console.print(f"{folder.path}  failed: {reason}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  repeat it: mmrun train {shlex.join(words)}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(jobs) - failed} of {len(jobs)} runs finished", highlight=False)
    return 1 if failed else 0
