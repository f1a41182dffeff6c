"""One run, from top to bottom."""

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from mmrun import hub
from mmrun.compose import as_dict, restore
from mmrun.config import RunConfig
from mmrun.data.row_digests import record_data
from mmrun.errors import STORAGE_ERRORS, ConfigError, DamagedError, StorageError
from mmrun.models.multimodal import Multimodal
from mmrun.renamed import list_corrections
from mmrun.results.data_records import write_data_record
from mmrun.results.environment import compare_starts, describe_environment
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
from mmrun.results.identity import run_folder_path
from mmrun.results.run_values import format_value
from mmrun.results.schema import State
from mmrun.run import build, checks
from mmrun.run import metrics as run_metrics
from mmrun.run.batch_size_search import recorded_batch_size, resolve_batch_size
from mmrun.run.build_stage import try_kernels
from mmrun.run.data import open_columns, open_data, open_file_digests, open_table, redraw_data
from mmrun.run.data_identity import check_data, check_fitted
from mmrun.run.fitted import record_fitted
from mmrun.run.interruption import handle_signals
from mmrun.run.last_data import LastData, OpenedData
from mmrun.run.session import Pruned, Session
from mmrun.run.stage import train_stage
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.training import device
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.placement import Placement, Replicated
from mmrun.training.stage_cost import StageCost

# An objective may leave trainable parameters without a gradient: masked tokens pass through no pooler.
UNUSED = DistributedDataParallelKwargs(find_unused_parameters=True)


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


def open_session(
    config: RunConfig,
    folder: RunFolder,
    callback: Callback,
    accelerator: Accelerator,
    for_training: bool = True,
    rerun: bool = False,
    last_data: LastData | None = None,
) -> Session:
    """Open everything that a run trains with: data, decoded columns, model, stages.

    Args:
        config: of the run.
        folder: where it writes.
        callback: observes it.
        accelerator: devices, precision and processes.
        for_training: initialise the weights, and try everything that training needs; False: weights will be loaded.
        rerun: what the folder holds will be removed, so the data may differ from what it was trained on.
        last_data: of the process, if it trains several runs.

    Raises:
        ConfigError, DataError: the run cannot start, or the data have changed since it did.
    """
    if for_training:
        import torch._dynamo  # noqa: F401  # the first optimizer imports it; after the data it would pin their memory
    opened = last_data.find(config, folder) if last_data is not None else None
    data = open_data(config) if opened is None else redraw_data(opened.data, opened.columns, config)
    if not rerun:
        check_data(folder, data.table, data.files)
        version = folder.read_environment().get("versions", {}).get("mmrun")
        for line in [*list_corrections(config, version), *check_fitted(folder, data.fits)]:
            callback.on_message(f"warning: {line}")
    record = None
    if for_training:
        cells = record_data(data.table, data.files) if opened is None else opened.record
        record = cells._replace(fits=data.fits)
    with hub.recording() as hub_models:
        build_blank = partial(build.build_blank_model, folder=folder)
        model = (build.build_model if for_training else build_blank)(config, data)
    stages = build.resolve_stages(config, model)
    if for_training:
        checks.dry_run_stages(config, data, model, stages, None if opened is None else opened.columns)
        if config.trainer.fsdp and not _has_shards(config, accelerator):
            callback.on_message(
                "note: trainer.fsdp: nothing to shard over; torchrun --nproc-per-node N starts N processes"
            )
        for line in checks.describe_start(config, data):
            callback.on_message(line)
    columns = open_columns(config, data, callback) if opened is None else opened.columns
    if last_data is not None and record is not None and opened is None:
        last_data.keep(config, OpenedData(data, columns, record))
    for line in data.table.skipped:
        callback.on_message(f"skipped {line}")
    for column in columns.values():
        for note in column.notes:
            callback.on_message(note)
    placement = place_model(model, config, accelerator, shard=for_training and _has_shards(config, accelerator))
    if for_training:
        build.fit_encoders(data, columns, model, accelerator.device)
    return Session(
        config,
        folder,
        callback,
        accelerator,
        data,
        columns,
        model,
        stages,
        placement,
        hub_models=frozenset(hub_models),
        record=record,
    )


def open_sibling(first: Session, config: RunConfig, folder: RunFolder, callback: Callback) -> Session:
    """Open a run of the same data and architecture as an opened one; the two share all that a seed does not draw.

    Args:
        first: opened for training.
        config: of the other run: its seed, and numbers of its optimizer, may differ.
        folder: where it writes.
        callback: observes it.

    Raises:
        DataError: what the folder recorded was fitted to other rows.
    """
    data = redraw_data(first.data, first.columns, config)
    for line in check_fitted(folder, data.fits):
        callback.on_message(f"warning: {line}")
    model = build.build_model(config, data)
    placement = place_model(model, config, first.accelerator)
    build.fit_encoders(data, first.columns, model, first.accelerator.device)
    assert first.record is not None
    return replace(
        first,
        config=config,
        folder=folder,
        callback=callback,
        data=data,
        model=model,
        stages=build.resolve_stages(config, model),
        placement=placement,
        record=first.record._replace(fits=data.fits),
    )


def _has_shards(config: RunConfig, accelerator: Accelerator) -> bool:
    """Return whether the model is sharded: a single process would only copy its weights to and fro."""
    return config.trainer.fsdp and accelerator.num_processes > 1


def place_model(model: Multimodal, config: RunConfig, accelerator: Accelerator, shard: bool = False) -> Placement:
    """Move a model to the devices, replicated or sharded, and return how it is placed.

    Args:
        model: moved in place.
        config: its trainer.
        accelerator: devices and processes.
        shard: shard the weights over the devices.
    """
    use_channels_last = device.is_enabled(config.trainer.channels_last, accelerator.device)
    placement: Placement = Replicated(accelerator, use_channels_last)
    if shard:
        from mmrun.training.sharded import Sharded

        placement = Sharded(accelerator)
    placement.place_model(model)
    return placement


def reopen(folder: RunFolder, callback: Callback) -> Session:
    """Open a finished run with its final weights in the model, to evaluate or predict.

    Raises:
        ConfigError: the run is not finished.
    """
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")
    config = recorded_batch_size(restore(folder.read_config()), folder)
    session = open_session(config, folder, callback, build_accelerator(config), for_training=False)
    load_stage_weights(session, list(session.stages.values())[-1])
    session.model.eval()
    return session


def build_accelerator(config: RunConfig) -> Accelerator:
    """Choose device and precision.

    Raises:
        ConfigError: this machine lacks what the config asks for, or the processes cannot share a batch evenly.
    """
    trainer = config.trainer
    checks.check_machine(trainer)
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    if world > 1 and config.budget.seconds is not None:
        raise ConfigError("budget.seconds: several processes have several clocks; use epochs, steps, samples or flops")
    AcceleratorState._reset_state()  # an earlier run of this process may have used another precision
    accelerator = Accelerator(
        mixed_precision="no" if trainer.precision == "fp32" else trainer.precision,
        cpu=trainer.device == "cpu" or not torch.accelerator.is_available(),  # else torchrun's processes stay apart
        kwargs_handlers=[UNUSED],
    )
    if accelerator.num_processes != world:
        raise ConfigError(
            f"trainer.device: {world} processes cannot train together on {accelerator.device.type}; "
            "use trainer.device=cpu, or start one process"
        )
    device.set_up(accelerator.device, trainer.deterministic, trainer.tf32)
    return accelerator


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
            f"{name} was {format_value(was)}, is {format_value(now)}" for name, (was, now) in changes.items()
        )
        session.callback.on_message(f"{folder.path} goes on in another environment: {words}")


def _set_status(folder: RunFolder, writes: bool, status: State, message: str | None) -> None:
    if writes:
        with suppress(StorageError):  # the disk is full: the run looks killed, which it is
            folder.status.write(status, message=message)


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
