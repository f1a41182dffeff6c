"""What a run records when it starts."""

import time
from collections.abc import Sequence

import torch

from mmrun import hub
from mmrun.compose import as_dict
from mmrun.errors import DamagedError
from mmrun.results.data_records import write_data_record
from mmrun.results.environment import compare_starts, describe_environment
from mmrun.results.folder import RunFolder
from mmrun.results.run_values import format_value
from mmrun.run.fitted import record_fitted
from mmrun.run.session import Session
from mmrun.training.callback import Callback


def record_start(session: Session, overrides: Sequence[str]) -> None:
    """Record in the run folder what the run starts with; report how an earlier process left it.

    Args:
        session: the run, whose folder this process has locked.
        overrides: what was typed.
    """
    _report_previous(session.folder, session.callback)
    _record_data(session)
    _record_fitted(session)
    _record_environment(session, overrides)


def _record_data(session: Session) -> None:
    """Write the digests of the data set, unless the run has them."""
    folder = session.folder
    if session.record is None or folder.data_file.exists():
        return
    if folder.environment_file.exists():  # of a run that an earlier version of mmrun started
        session.callback.on_message(
            f"{folder.path} has no record of its data, so changes since it was started cannot be noticed"
        )
    write_data_record(folder, session.record)


def _record_fitted(session: Session) -> None:
    """Write what new rows are predicted by without the data, a hub or a local model, unless the run has it."""
    folder = session.folder
    if not folder.fitted_file.exists():
        hub.store_files(sorted(session.hub_models), folder.hub)
        folder.write_fitted(record_fitted(session))


def _record_environment(session: Session, overrides: Sequence[str]) -> None:
    """Record machine and code; where the run goes on with others than it began with, say so."""
    folder, config = session.folder, session.config
    environment = describe_environment(str(session.accelerator.device), torch.get_num_threads())
    environment["time"] = time.time()
    if not folder.environment_file.exists():
        folder.create(as_dict(config), overrides, environment)
        return
    folder.add_start(environment)
    starts = folder.read_starts()
    changes = compare_starts([starts[0], starts[-1]])
    if changes:
        words = ", ".join(
            f"{name} was {format_value(before)}, is {format_value(after)}" for name, (before, after) in changes.items()
        )
        session.callback.on_message(f"{folder.path} goes on in another environment: {words}")


def _report_previous(folder: RunFolder, callback: Callback) -> None:
    """Report a process that died while it trained this run, whose lock this process now holds."""
    try:
        status = folder.status.read() if folder.status_file.exists() else None
    except DamagedError as error:
        callback.on_message(f"{error}; it is written anew")
        return
    if status is not None and status["status"] == "running":
        position = f"at {status['stage'] or 'its start'}, {status['progress']:.0%} done"
        callback.on_message(f"{folder.path} was killed {position}")
