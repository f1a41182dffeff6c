"""One run of a sweep as a job: what the process that trains it is told, and how it trains."""

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from mmrun import compose
from mmrun.cli.output import set_quiet
from mmrun.cli.progress import SweepPosition
from mmrun.errors import MmrunError
from mmrun.results.folder import RunFolder

if TYPE_CHECKING:
    from mmrun.cli.terminal import Terminal  # imports torch
    from mmrun.run.last_data import LastData

TrialArguments = Mapping[str, Any]  # of `search.trials.Report`


class Job(TypedDict):
    """What the process that trains a run is told.

    Attributes:
        run: path of the run folder.
        position: fields of a `SweepPosition`.
        rerun: repeat the run if it is finished.
        quiet: print errors only.
        trial: of a search, which may prune the run.
    """

    run: str
    position: dict[str, Any]
    rerun: bool
    quiet: bool
    trial: TrialArguments | None


def train_job(job: Job, last_data: "LastData | None" = None) -> str | None:
    """Train one run in this process.

    Args:
        job: the config of its run is read from the run folder.
        last_data: of this process, if it trains several runs.

    Returns:
        The reason if the run failed, else None.
    """
    from mmrun.cli.terminal import Terminal
    from mmrun.run import pipeline
    from mmrun.training.callback import CallbackList

    folder = RunFolder(job["run"])
    overrides, config = folder.read_overrides(), compose.restore(folder.read_config())
    position = SweepPosition(**job["position"])
    set_quiet(job["quiet"])  # this may be another process than the one that read the command line
    with Terminal.for_run(config, position) as terminal:
        callback = CallbackList([terminal])
        if job["trial"] is not None:
            from mmrun.cli.pruning import Pruning  # here: it imports Optuna, which takes a second

            callback.callbacks.append(Pruning(folder, job["trial"]))
        try:
            pipeline.run(config, callback, overrides, job["rerun"], folder, wait=True, last_data=last_data)
        except KeyboardInterrupt:
            if position.is_parallel:  # the process that waits for this run to stop shall see that it has
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise
        except Exception as error:
            return report_failure(terminal, error)
    return None


def report_failure(terminal: "Terminal", error: Exception) -> str | None:
    """Print why a run ended before its end, and return the reason; None where it was pruned.

    Args:
        terminal: of the run.
        error: that ended it.
    """
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
