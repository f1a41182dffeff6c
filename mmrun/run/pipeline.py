"""One run, top to bottom."""

import os
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, LoggerType

from mmrun.compose import as_dict, restore
from mmrun.config import RunConfig
from mmrun.errors import ConfigError, nearest
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder, environment, run_path
from mmrun.run import batch_size_search, build, stage
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Callback, Pruned, Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.training import device
from mmrun.training.placement import Placement, Replicated

# An objective may leave parameters that are told to learn without a gradient: masked tokens pass through no pooler.
UNUSED = DistributedDataParallelKwargs(find_unused_parameters=True)


def run(
    config: RunConfig,
    watch: Callback,
    overrides: Sequence[str] = (),
    rerun: bool = False,
    folder: RunFolder | None = None,
    wait: bool = False,
) -> RunFolder:
    """Train, evaluate and write one run; go on where an earlier call was cut off; find it where it is finished.

    The folder is where the config says, or the given one. A run that another process trains is an error, or waited for.
    """
    accelerator = build_accelerator(config)
    if folder is None:
        folder = RunFolder(run_path(as_dict(config)))
    if folder.finished and not rerun:
        watch.note(f"{folder.path} is finished; --rerun repeats it")
        return folder
    session = open_session(config, folder, watch, accelerator)
    writes = accelerator.is_main_process
    with folder.alone(watch.note if wait else None) if writes else nullcontext():
        if writes and rerun:
            folder.clear()
        if writes and not folder.environment_file.exists():
            folder.create(as_dict(config), overrides, environment(str(accelerator.device), torch.get_num_threads()))
        accelerator.wait_for_everyone()
        if folder.finished:  # by another process, while this one opened the data or waited
            return folder
        try:
            _train(batch_size_search.sized(session))
        except KeyboardInterrupt:
            _say(folder, writes, "interrupted", None)
            raise
        except Pruned as reason:
            _say(folder, writes, "pruned", str(reason))
            raise
        except Exception as error:
            _say(folder, writes, "failed", f"{type(error).__name__}: {error}")
            raise
        accelerator.wait_for_everyone()
    accelerator.end_training()
    return folder


def _train(session: Session) -> None:
    """Train every stage in order, evaluate once, write the result."""
    session.watch.run(session.folder.name, list(session.stages))
    if session.config.trainer.trackers:
        session.accelerator.init_trackers(session.folder.name)
    costs = {name: stage.train(session, item, learning) for name, (item, learning) in session.stages.items()}
    evaluation = run_metrics.evaluate(session)
    if session.writes:
        session.folder.finish(run_metrics.summary(session, costs, evaluation))


def open_session(
    config: RunConfig, folder: RunFolder, watch: Callback, accelerator: Accelerator, begin: bool = True
) -> Session:
    """Make everything that a run trains with: the data, decoded, and the model.

    `begin`: with its first weights, and everything tried that training needs; else the weights are to be loaded.
    """
    if begin:
        import torch._dynamo  # noqa: F401  # the first optimiser imports it; after the data it would pin their memory
    data = build.data(config)
    model = build.model(config, data, begin)
    stages = build.stages(config, model)
    if begin:
        build.dry_run_stages(config, data, model, stages)
    columns = build.columns(config, data)
    for line in data.table.skipped:
        watch.note(f"skipped {line}")
    placement = place(model, config, accelerator, begin and config.trainer.fsdp)
    if begin:
        build.fit(data, columns, model, accelerator.device)
    return Session(config, folder, watch, accelerator, data, columns, model, stages, placement)


def place(model: Multimodal, config: RunConfig, accelerator: Accelerator, fsdp: bool = False) -> Placement:
    """Bring a model to the devices, whole or shared out, and tell how it lies there."""
    placement: Placement = Replicated(accelerator, device.chosen(config.trainer.channels_last, accelerator.device))
    if fsdp:
        from mmrun.training.sharded import Sharded

        placement = Sharded(accelerator)
    placement.put(model)
    return placement


def reopen(folder: RunFolder, watch: Callback) -> Session:
    """Open a finished run again, its final weights in the model, to evaluate or predict with."""
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")
    config = batch_size_search.recorded(restore(folder.config()), folder)
    session = open_session(config, folder, watch, build_accelerator(config), begin=False)
    last, _ = list(session.stages.values())[-1]
    load_stage_weights(session, last)
    session.model.eval()
    return session


def build_accelerator(config: RunConfig) -> Accelerator:
    """Choose device and precision; what this machine lacks is said before anything else is done."""
    trainer = config.trainer
    if trainer.precision == "fp16" and (trainer.device == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("trainer.precision: fp16 needs a GPU; use bf16 or fp32")
    world = int(os.environ.get("WORLD_SIZE", "1"))  # what torchrun sets
    sizes = [size for size in (trainer.batch_size, trainer.eval_batch_size) if size != "auto"]
    if any(size % world for size in sizes):
        raise ConfigError(f"trainer: batch_size and eval_batch_size must divide evenly over {world} processes")
    if world > 1 and config.budget.seconds is not None:
        raise ConfigError("budget.seconds: several processes have several clocks; use epochs, steps, samples or flops")
    known = [kind.value for kind in LoggerType if kind is not LoggerType.ALL]
    installed = [kind.value for kind in get_available_trackers()]
    for name in trainer.trackers:
        if name not in known:
            there = f"(there are {', '.join(known)})"
            raise ConfigError(f"trainer.trackers: no tracker '{name}'{nearest(name, known)} {there}")
        if name not in installed:
            raise ConfigError(f"trainer.trackers: '{name}' is not installed; pip install {name}, or leave it out")
    AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
    accelerator = Accelerator(
        mixed_precision="no" if trainer.precision == "fp32" else trainer.precision,
        cpu=trainer.device == "cpu",
        log_with=trainer.trackers or None,
        project_dir=str(run_path(as_dict(config))),
        kwargs_handlers=[UNUSED],
    )
    device.set_up(accelerator.device, trainer.deterministic, trainer.tf32)
    return accelerator


def _say(folder: RunFolder, writes: bool, state: str, message: str | None) -> None:
    if writes:
        folder.set_status(state, message=message)
