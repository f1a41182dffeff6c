"""Checks of a run before anything is decoded or trained: values, machine, shapes, rows and monitored metrics."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from mmrun.compose import as_dict
from mmrun.config import LABELS, BudgetConfig, Node, RunConfig, TrainerConfig
from mmrun.data.loader import Loader
from mmrun.data.store import PreprocessedColumn, open_blank
from mmrun.dataset_path import describe_dataset_choice
from mmrun.errors import ConfigError, nearest
from mmrun.head import Head, metric_name
from mmrun.instantiate import check_values
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.pretext import Pretext
from mmrun.objectives.teacher import EMACopy
from mmrun.recipe import describe_recipe, is_adapted, starts_at_random
from mmrun.run.build import (
    augmentation_of,
    build_callbacks,
    build_model,
    build_objective,
    build_optimizer,
    resolve_stages,
    uses_balance,
)
from mmrun.run.data import Data, DataSets, describe_data, open_data
from mmrun.run.sampling import order_rows
from mmrun.training.dry_run import no_side_effects
from mmrun.training.stages import Stage
from mmrun.types import Objective
from mmrun.values import convert

MOSTLY = 0.5  # share of an encoder's weights
RATES = ("lr", "weight_decay")  # of an optimizer; any that fits its type fits every model


def check(config: RunConfig) -> list[str]:
    """Build everything of a run except its decoded columns, to raise its errors early.

    Args:
        config: of a run that may never be started.

    Returns:
        What `describe_start` says.

    Raises:
        ConfigError, DataError: the run could not start.
    """
    return _check(config, open_data)


def check_sweep(configs: Iterable[RunConfig]) -> list[str]:
    """Check the runs of a sweep: each distinct configuration once, each data set opened once.

    Args:
        configs: of the runs. Those that differ only in seeds, learning rates, weight decay and budgets, which are
            checked when they are composed, are the same configuration.

    Returns:
        What `describe_start` says of all, each line once.

    Raises:
        ConfigError, DataError: a run could not start.
    """
    distinct: dict[str, RunConfig] = {}
    for config in configs:
        distinct.setdefault(identify_build(config), config)
    notes = dict[str, None]()
    data_sets = DataSets()
    for config in distinct.values():
        notes.update(dict.fromkeys(_check(config, data_sets.open)))
    return list(notes)


def _check(config: RunConfig, open_data: Callable[[RunConfig], Data]) -> list[str]:
    check_nodes(config)
    check_machine(config.trainer)
    build_callbacks(config)
    data = open_data(config)
    model = build_model(config, data)
    dry_run_stages(config, data, model, resolve_stages(config, model))
    return describe_start(config, data)


def identify_build(config: RunConfig) -> str:
    """Return a key that configs share from which the same objects are built, whose steps take the same time.

    Args:
        config: its seed, budgets, learning rates and weight decay do not count.
    """
    stages = {}
    for name, stage in config.strategy.stages.items():
        stages[name] = replace(stage, lr=None, optimizer=_drop_rates(stage.optimizer))
    strategy = replace(config.strategy, stages=stages)
    comparable = replace(
        config, seed=0, budget=BudgetConfig(), optimizer=_drop_rates(config.optimizer), strategy=strategy
    )
    return json.dumps(as_dict(comparable), sort_keys=True)


def _drop_rates(optimizer: Node) -> Node:
    return optimizer and {key: value for key, value in optimizer.items() if key not in RATES}


def describe_start(config: RunConfig, data: Data) -> list[str]:
    """Return what is said of the data and of what was chosen, when a run starts.

    Args:
        config: of the run.
        data: that it reads.
    """
    notes = [*describe_dataset_choice(config.choices.get("dataset"), config.outputs), *describe_recipe(config)]
    return [*describe_data(data), *(f"note: {note}" for note in notes)]


def check_nodes(config: RunConfig) -> None:
    """Check the values of every node against the signature of its class, before any data is read.

    Raises:
        ConfigError: a class or argument is unknown, or a value does not fit.
    """
    check_values(config.dataset, "dataset", drop=LABELS)
    for modality, node in config.encoder.items():
        check_values(node, f"encoder.{modality}", drop=("preprocess", "init"))
        check_values(node["preprocess"], f"encoder.{modality}.preprocess")
        convert(node.get("init", ""), str, f"encoder.{modality}.init")
    check_values(config.fusion, "fusion", drop=("init",))
    convert(config.fusion.get("init", ""), str, "fusion.init")
    nodes = {"optimizer": config.optimizer}
    nodes |= {"strategy.adapt": config.strategy.adapt, "strategy.head": config.strategy.head}
    nodes |= {"balance": config.balance, "augment": config.augment}
    nodes |= {f"callbacks.{name}": node for name, node in config.callbacks.items()}
    nodes |= {f"tasks.{name}": node for name, node in config.tasks.items()}
    for name, stage in config.strategy.stages.items():
        nodes[f"strategy.stages.{name}.objective"] = stage.objective
        nodes[f"strategy.stages.{name}.optimizer"] = stage.optimizer
    for key_path, node in nodes.items():
        if node is not None:
            check_values(node, key_path)


def check_machine(trainer: TrainerConfig) -> None:
    """Reject what this machine, or this number of processes, cannot do.

    Raises:
        ConfigError: there is no GPU for fp16, there are fewer GPUs than processes, or the processes cannot share a
            batch evenly.
    """
    if trainer.precision == "fp16" and (trainer.device == "cpu" or not torch.cuda.is_available()):
        raise ConfigError("trainer.precision: fp16 needs a GPU; use bf16 or fp32")
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    local_world, num_gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if trainer.device != "cpu" and 0 < num_gpus < local_world:
        raise ConfigError(
            f"trainer.device: {local_world} processes need a GPU each, and this machine has {num_gpus}; "
            f"torchrun --nproc-per-node {num_gpus}, or trainer.device=cpu"
        )
    sizes = [size for size in (trainer.batch_size, trainer.eval_batch_size) if size != "auto"]
    if any(size % world for size in sizes):
        raise ConfigError(f"trainer: batch_size and eval_batch_size must divide evenly over {world} processes")


def dry_run_stages(
    config: RunConfig,
    data: Data,
    model: Multimodal,
    stages: Mapping[str, Stage],
    columns: Mapping[str, PreprocessedColumn] | None = None,
) -> None:
    """Build every objective and optimizer once, so that errors are raised before anything is decoded or trained.

    Args:
        config: of the run.
        data: that it reads.
        model: left as it is.
        stages: to try.
        columns: decoded, where they are already; None: the raw ones are in the table.

    Raises:
        ConfigError: parts do not fit each other.
    """
    try_forward(data, model, columns)
    data.warn(_describe_random_encoders(config, model, stages))
    parameters = dict(model.named_parameters())
    for stage in stages.values():
        objective = build_objective(config, stage, data, model)
        if config.trainer.fsdp and any(isinstance(module, Multimodal | EMACopy) for module in objective.modules()):
            raise ConfigError(
                f"{stage.key_path}.objective: {type(objective).__name__} holds a copy of a model as its teacher, which "
                "trainer.fsdp does not shard; drop one of the two"
            )
        build_optimizer(config, stage, model, [(name, parameters[name]) for name in sorted(stage.trainable)])
        _check_rows(stage, data)
        order_rows(config, stage, data)
        _check_monitor(stage, data)
        data.warn(_describe_moving_target(stage, objective))
    if config.balance is not None and not any(uses_balance(stage) for stage in stages.values()):
        raise ConfigError("balance: no stage of this strategy trains several encoders with a head; drop balance")
    _check_augmentation(config, data, stages)


def _describe_random_encoders(config: RunConfig, model: Multimodal, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Yield a warning for each encoder that starts from random weights, most of which stay as they are."""
    trainable = frozenset[str]().union(*(stage.trainable for stage in stages.values()))
    for modality, encoder in model.encoder.items():
        sizes = {f"encoder.{modality}.{name}": parameter.numel() for name, parameter in encoder.named_parameters()}
        trained = sum(size for name, size in sizes.items() if name in trainable)
        if trained >= MOSTLY * sum(sizes.values()) or not starts_at_random(config, modality):
            continue
        share = f"{trained / sum(sizes.values()):.0%} of them"
        if is_adapted(config.strategy, modality):
            mend = "strategy.adapt_modalities names the encoders to adapt; the others are trained whole"
        else:
            mend = f"encoder.{modality} in the train list of a stage trains it"
        yield f"encoder.{modality} starts from random weights, and {share} are trained; {mend}"


def _describe_moving_target(stage: Stage, objective: Objective) -> Iterator[str]:
    """Yield a warning where the weights with the lowest loss are kept, and losses cannot be compared."""
    if stage.config.keep != "best" or stage.config.monitor != "loss":
        return
    for module in objective.modules():
        if isinstance(module, Pretext) and module.moving_target:
            yield (
                f"{stage.name}: the target of {type(module).__name__} moves, so its losses at different steps cannot "
                f"be compared; add {stage.key_path}.keep=last"
            )


def try_forward(data: Data, model: Multimodal, columns: Mapping[str, PreprocessedColumn] | None = None) -> None:
    """Pass two rows through the model, so that shapes that do not fit are an error before data is decoded.

    Args:
        data: its preprocessors determine the shapes.
        model: left as it is.
        columns: decoded; None: two rows of zeros.

    Raises:
        ConfigError: an encoder, the fusion or a head cannot read such rows.
    """
    columns = _open_blanks(data) if columns is None else columns
    targets = {name: target.values[:2] for name, target in data.table.targets.items()}
    batch = next(Loader(columns, targets, np.arange(2), 2).ordered())
    was_training = model.training
    model.eval()
    with torch.no_grad(), no_side_effects(model, torch.device("cpu")):
        for modality in columns:
            _try(f"encoder.{modality}", partial(model.forward_unimodal, batch, modality))
        _try("fusion", partial(model, batch))
    model.train(was_training)


def _open_blanks(data: Data) -> dict[str, PreprocessedColumn]:
    """Return two rows of zeros of each modality."""
    raw = data.table.columns
    return {name: open_blank(raw[name], preprocessor, num_rows=2) for name, preprocessor in data.preprocessors.items()}


def _try(key_path: str, forward: Callable[[], object]) -> None:
    try:
        forward()
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{key_path}: cannot read rows of this size: {message}") from error


def _check_rows(stage: Stage, data: Data) -> None:
    """Reject a stage without training rows."""
    rows = stage.config.rows
    if len(data.rows[rows]) == 0:
        mend = "set dataset.labelled below 1" if rows == "unlabelled" else "choose rows=all"
        raise ConfigError(
            f"{stage.key_path}.rows: none of the {len(data.rows['all'])} training rows is {rows}, so there is nothing "
            f"to train on; {mend}"
        )


def _check_monitor(stage: Stage, data: Data) -> None:
    """Reject a metric that the validation rows do not have."""
    monitor = stage.config.monitor
    if monitor == "loss":
        return
    if not stage.heads:
        raise ConfigError(
            f"{stage.key_path}.monitor: {monitor} needs a head or probe that this stage trains; "
            "set it to loss, or add head to its train list"
        )
    names = list_metrics(data, stage.heads)
    if monitor != "primary_metric" and monitor not in names:
        raise ConfigError(
            f"{stage.key_path}.monitor: no metric '{monitor}'{nearest(monitor, names)} "
            f"(there are loss, primary_metric, {', '.join(names)})"
        )


def list_metrics(data: Data, heads: Iterable[Head]) -> list[str]:
    """List the metrics of the validation rows, by computing those of outputs that are all zero.

    Args:
        data: its tasks and targets.
        heads: that predict.

    Returns:
        Their names in the run, sorted.
    """
    names = []
    for task_name, task in data.tasks.items():
        target = data.table.targets[task_name].values[data.rows["val"]]
        scores = task.scores(torch.zeros(len(target), task.num_outputs)).numpy()
        for metric in task.metrics(scores, target):
            names += [metric_name(metric, task_name, head, len(data.tasks)) for head in heads]
    return sorted(names)


def _check_augmentation(config: RunConfig, data: Data, stages: Mapping[str, Stage]) -> None:
    """Reject an augmentation that no stage would use."""
    if config.augment is None:
        return
    if all(augmentation_of(config, stage, data) is None for stage in stages.values()):
        names = ", ".join(f"{modality} ({kind})" for modality, kind in data.kinds.items())
        raise ConfigError(
            f"augment: no stage of this strategy trains a head on a kind that it augments ({names}); drop augment"
        )
