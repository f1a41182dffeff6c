"""A run, opened: its data, model and stages."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from accelerate import Accelerator

from mmrun import hub
from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.data.row_digests import record_data
from mmrun.data.store import PreprocessedColumn
from mmrun.errors import ConfigError
from mmrun.renamed import list_corrections
from mmrun.results.folder import RunFolder
from mmrun.run import build, checks
from mmrun.run.accelerator import build_accelerator, has_shards, place_model
from mmrun.run.batch_size_search import recorded_batch_size
from mmrun.run.data import Data, open_columns, open_data, redraw_data
from mmrun.run.data_identity import check_data, check_fitted
from mmrun.run.last_data import LastData, OpenedData
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.training.callback import Callback


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
        _check_recorded(config, folder, data, callback)
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
        _report_start(config, data, accelerator, callback)
    columns = open_columns(config, data, callback) if opened is None else opened.columns
    if last_data is not None and record is not None and opened is None:
        last_data.keep(config, OpenedData(data, columns, record))
    _report_data(data, columns, callback)
    placement = place_model(model, config, accelerator, shard=for_training and has_shards(config, accelerator))
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


def _check_recorded(config: RunConfig, folder: RunFolder, data: Data, callback: Callback) -> None:
    """Compare the data with what a started run recorded, and warn of what version or data have changed since."""
    check_data(folder, data.table, data.files)
    version = folder.read_environment().get("versions", {}).get("mmrun")
    for line in [*list_corrections(config, version), *check_fitted(folder, data.fits)]:
        callback.on_message(f"warning: {line}")


def _report_start(config: RunConfig, data: Data, accelerator: Accelerator, callback: Callback) -> None:
    """Report defaults that a run starts with."""
    if config.trainer.fsdp and not has_shards(config, accelerator):
        callback.on_message("note: trainer.fsdp: nothing to shard over; torchrun --nproc-per-node N starts N processes")
    for line in checks.describe_start(config, data):
        callback.on_message(line)


def _report_data(data: Data, columns: Mapping[str, PreprocessedColumn], callback: Callback) -> None:
    """Report rows that are left out, and how columns are read."""
    for line in data.table.skipped:
        callback.on_message(f"skipped {line}")
    for column in columns.values():
        for note in column.notes:
            callback.on_message(note)


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
