"""One run, top to bottom: open it, train its stages in order, evaluate it once."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

from mmrun.compose import as_dict
from mmrun.config import RunConfig
from mmrun.errors import STORAGE_ERRORS, StorageError
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
from mmrun.results.identity import run_folder_path
from mmrun.results.schema import State
from mmrun.run import build, checks
from mmrun.run import metrics as run_metrics
from mmrun.run.accelerator import build_accelerator
from mmrun.run.batch_size_search import resolve_batch_size
from mmrun.run.build_stage import try_kernels
from mmrun.run.data import open_file_digests, open_table
from mmrun.run.data_identity import check_data
from mmrun.run.interruption import handle_signals
from mmrun.run.last_data import LastData
from mmrun.run.opening import open_session
from mmrun.run.session import Pruned, Session
from mmrun.run.stage import train_stage
from mmrun.run.start_record import record_start
from mmrun.training import device
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.stage_cost import StageCost


def run(
    config: RunConfig,
    callback: Callback,
    overrides: Sequence[str] = (),
    rerun: bool = False,
    folder: RunFolder | None = None,
    wait: bool = False,
    last_data: LastData | None = None,
) -> RunFolder:
    """Train, evaluate and write one run; resume it if it was interrupted, return it if it is finished.

    Args:
        config: of the run.
        callback: observes it, besides the callbacks that the config names.
        overrides: what was typed, stored in the run folder.
        rerun: repeat a finished run.
        folder: where to write; None: where the config says.
        wait: wait for another process that trains this run, instead of raising an error.
        last_data: of the process, if it trains several runs.

    Returns:
        The folder of the finished run.

    Raises:
        ConfigError, DataError: the run cannot start.
        RunError: another process trains it, or training failed.
        StorageError: the disk is full or cannot be written; it says how far training is safe.
        Pruned: a callback ended it.
    """
    accelerator = build_accelerator(config)
    if folder is None:
        folder = RunFolder(run_folder_path(as_dict(config)))
    if folder.finished and not rerun:
        files = open_file_digests(config)
        check_data(folder, open_table(config, files), files)
        callback.on_message(f"{folder.path} is finished; --rerun repeats it")
        return folder
    checks.check_nodes(config)
    callbacks = CallbackList([callback, *build.build_callbacks(config)])
    session = open_session(config, folder, callbacks, accelerator, rerun=rerun, last_data=last_data)
    writes = accelerator.is_main_process
    with lock_run(folder, callback.on_message if wait else None) if writes else nullcontext():
        if writes and rerun:
            folder.clear()
        if writes and not folder.finished:
            record_start(session, overrides)
        accelerator.wait_for_everyone()
        if folder.finished:  # by another process, while this one opened the data or waited
            return folder
        failures = record_failure(folder, writes, callback)
        with failures, device.naming_kernel(), handle_signals(callback.on_message) as interruption:
            session = resolve_batch_size(session)
            try_kernels(session)
            _train(replace(session, interruption=interruption))
        accelerator.wait_for_everyone()
    return folder


@contextmanager
def record_failure(folder: RunFolder, writes: bool, callback: Callback) -> Iterator[None]:
    """Record in the status how training ended, if it does not reach its end; tell how an interrupted run goes on.

    Args:
        folder: of the run.
        writes: whether this process writes it.
        callback: observes the run.

    Raises:
        StorageError: in place of an error of the disk; it says how the run goes on.
    """
    try:
        yield
    except KeyboardInterrupt:
        _set_status(folder, writes, "interrupted", None)
        resume = shlex.join(["mmrun", "resume", str(folder.path)])
        callback.on_message(f"interrupted; {resume} continues {folder.describe_saved()}")
        raise
    except Pruned as reason:
        _set_status(folder, writes, "pruned", str(reason))
        raise
    except (StorageError, OSError) as error:
        _set_status(folder, writes, "failed", f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) and error.errno not in STORAGE_ERRORS:
            raise
        raise StorageError(
            f"{error}; free room, then mmrun resume {folder.path} continues {folder.describe_saved()}"
        ) from None
    except Exception as error:
        _set_status(folder, writes, "failed", f"{type(error).__name__}: {error}")
        raise


def _train(session: Session) -> None:
    """Train every stage in order, then finish the run."""
    session.callback.on_run_start(session.folder.path, list(session.stages))
    finish_run(session, {name: train_stage(session, stage) for name, stage in session.stages.items()})


def finish_run(session: Session, costs: dict[str, StageCost]) -> None:
    """Evaluate a trained run once, and write its result.

    Args:
        session: the run, with its final weights.
        costs: of each stage.
    """
    evaluation = run_metrics.evaluate(session)
    if session.is_writer:
        session.folder.finish(run_metrics.summarize(session, costs, evaluation))
    session.callback.on_run_end(session.folder.path)


def _set_status(folder: RunFolder, writes: bool, status: State, message: str | None) -> None:
    if writes:
        with suppress(StorageError):  # the disk is full: the run looks killed, which it is
            folder.status.write(status, message=message)
