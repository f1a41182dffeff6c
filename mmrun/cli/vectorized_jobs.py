"""Jobs of a sweep that train together as one computation, in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun import compose
from mmrun.cli.job import Job, report_failure
from mmrun.cli.progress import SweepPosition
from mmrun.results.folder import RunFolder

if TYPE_CHECKING:
    from mmrun.run.last_data import LastData  # imports torch


def group_jobs(jobs: Iterable[Job], report: Callable[[str], None]) -> Iterator[list[Job]]:
    """Yield jobs in groups that train together; a job alone where its config does not ask for it.

    Args:
        jobs: of a sweep.
        report: is called with a line where runs train apart.
    """
    jobs = list(jobs)
    configs = [compose.restore(RunFolder(job["run"]).read_config()) for job in jobs]
    is_search = any(job["trial"] is not None for job in jobs)  # a trial may be pruned
    if is_search or not any(config.trainer.vectorize for config in configs):
        yield from ([job] for job in jobs)
        return
    from mmrun.run.vectorized_groups import group_runs  # imports torch

    groups, messages = group_runs(configs)
    for message in messages:
        report(message)
    for group in groups:
        yield [jobs[number] for number in group]


def train_jobs_together(jobs: Sequence[Job], last_data: "LastData") -> dict[Path, str | None]:
    """Train several runs as one computation.

    Args:
        jobs: of runs that `group_jobs` found to fit together.
        last_data: of this process.

    Returns:
        By run folder, why the run failed; None: it did not.

    Raises:
        NotStackableError: they would train slower than one after another; nothing was trained.
    """
    from mmrun.cli.terminal import Terminal
    from mmrun.run.vectorized import Sibling, run_together
    from mmrun.training.vectorized.stackable import NotStackableError

    siblings, terminals = [], []
    for job in jobs:
        folder = RunFolder(job["run"])
        config = compose.restore(folder.read_config())
        position = replace(SweepPosition(**job["position"]), is_parallel=True)
        terminals.append(Terminal.for_run(config, position))
        siblings.append(Sibling(config, folder, folder.read_overrides(), terminals[-1], job["rerun"]))
    try:
        run_together(siblings, last_data)
    except NotStackableError:
        raise
    except Exception as error:  # of all runs
        for sibling in siblings:
            if sibling.trains:
                sibling.error = error
    reasons: dict[Path, str | None] = {}
    for sibling, terminal in zip(siblings, terminals, strict=True):
        failure = sibling.error
        reasons[sibling.folder.path] = None if failure is None else report_failure(terminal, failure)
    return reasons
