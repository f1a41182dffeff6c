"""Builds the objects of a run from its config: data, model, and for each stage its objective and optimizer."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mmrun import plugins
from mmrun.config import LABELS, RunConfig, TrainerConfig
from mmrun.data import split
from mmrun.data.file_digests import MEMORY, FileDigests
from mmrun.data.fitted import Fit, digest_state
from mmrun.data.loader import Loader
from mmrun.data.packed import release_memory
from mmrun.data.preprocess.notes import describe_preprocessors
from mmrun.data.row_digests import hash_rows, record_data
from mmrun.data.store import PreprocessedColumn, open_blank, open_column
from mmrun.data.table import SPLITS, Table
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.head import Head, metric_name
from mmrun.instantiate import check_values, instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.run import init_from
from mmrun.seeding import seeded_generator
from mmrun.tasks import build_task
from mmrun.tasks.regression import Regression
from mmrun.training import checkpoint
from mmrun.training.callback import Callback
from mmrun.training.dry_run import no_side_effects
from mmrun.training.stages import Stage, expand_stages, lr_decays, parameter_groups, trainable_parameters
from mmrun.types import KINDS, Encoder, Input, Objective, Preprocessor, Task
from mmrun.values import convert


@dataclass(frozen=True)
class Data:
    """A data set, opened for one run.

    Attributes:
        table: what the source returned.
        kinds: kind of each modality that the run reads.
        preprocessors: by modality, fitted on the training rows.
        tasks: what is predicted, by name.
        rows: row numbers, ascending, by what they are for: all, labelled, unlabelled, bootstrap (of the training
            rows), val, test.
        files: digests of the files that the data set names.
    """

    table: Table
    kinds: dict[str, str]
    preprocessors: dict[str, Preprocessor]
    tasks: dict[str, Task]
    rows: dict[str, np.ndarray]
    files: FileDigests

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """By modality, the arguments that its preprocessor offers to encoders and objectives."""
        return {modality: preprocessor.metadata for modality, preprocessor in self.preprocessors.items()}

    @property
    def notes(self) -> list[str]:
        """What the preprocessors chose from the rows, and what they cut or change: one line each."""
        return describe_preprocessors(self.preprocessors)

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """Digests of what was fitted to the training rows, by part: encoder.text, task.label."""
        fits = {}
        for modality, preprocessor in self.preprocessors.items():
            fits[f"encoder.{modality}"] = digest_state(preprocessor.state())
        for name, task in self.tasks.items():
            state: dict[str, object] = {"classes": self.table.targets[name].names}
            if isinstance(task, Regression):
                state |= {"mean": task.mean.tolist(), "deviation": task.std.tolist()}
            fits[f"task.{name}"] = digest_state(state)
        return fits

    def warn(self, warnings: Iterable[str]) -> None:
        """Add warnings to those of the table, once each.

        Args:
            warnings: one line each.
        """
        self.table.warnings.extend(line for line in warnings if line not in self.table.warnings)


def open_table(config: RunConfig, files: FileDigests) -> Table:
    """Read the data set; the files that it names are read only where their content is not known yet.

    Args:
        config: its dataset.
        files: what `open_file_digests` returned.

    Raises:
        DataError: the data cannot be used.
    """
    table: Table = instantiate(config.dataset, "dataset", {"digests": files}, drop=LABELS)
    if not plugins.is_allowed(config.dataset["_target_"]):
        return table
    content = hash_rows(record_data(table, files))  # a source of the user's own may leave something out
    return replace(table, fingerprint=content, old_fingerprint=table.fingerprint)


def open_file_digests(config: RunConfig) -> FileDigests:
    """Return the digests of files that runs with this cache folder remember.

    Args:
        config: its cache folder.
    """
    return FileDigests(Path(config.cache).expanduser() / MEMORY)


def open_data(config: RunConfig) -> Data:
    """Open the data set, and fit what the training rows decide: vocabularies, means, the labelled share.

    Raises:
        DataError: the data cannot be used, or a split has no row.
    """
    files = open_file_digests(config)
    table = open_table(config, files)
    for name in SPLITS:
        if len(table.rows(name)) == 0:
            raise DataError(f"dataset: the {name} split has no row; each of {', '.join(SPLITS)} needs some")
    train = table.rows("train")
    labelled = split.choose_labelled_rows(table, config.dataset["labelled"], config.seed, config.dataset["shots"])
    rows = {"all": train, "labelled": labelled, "unlabelled": np.setdiff1d(train, labelled)}
    rows["bootstrap"] = split.draw_bootstrap_rows(labelled, config.seed)
    rows |= {name: table.rows(name) for name in ("val", "test")}
    preprocessors = {}
    for modality, node in config.encoder.items():
        preprocessor: Preprocessor = instantiate(node["preprocess"], f"encoder.{modality}.preprocess")
        preprocessor.fit(table.columns[modality], train)
        preprocessors[modality] = preprocessor
    tasks = _build_tasks(config, table, labelled)
    kinds = {modality: table.columns[modality].kind for modality in config.encoder}
    return Data(table, kinds, preprocessors, tasks, rows, files)


def _build_tasks(config: RunConfig, table: Table, labelled: np.ndarray) -> dict[str, Task]:
    """Build the task of each target: the user's own where `tasks` names one."""
    for name in config.tasks:
        if name not in table.targets:
            targets = f"{nearest(name, table.targets)} (it has {', '.join(table.targets)})"
            raise ConfigError(f"tasks.{name}: the data set has no such target{targets}")
    tasks = {}
    for name, target in table.targets.items():
        node = config.tasks.get(name)
        build = None if node is None else partial(instantiate, node, f"tasks.{name}")
        tasks[name] = build_task(name, target, labelled, build)
    return tasks


def open_columns(config: RunConfig, data: Data) -> dict[str, PreprocessedColumn]:
    """Decode each modality, or open what an earlier run decoded; then free the raw values, which take more memory.

    Rows that cannot be decoded are removed from `data.rows`.

    Args:
        config: its cache folder and limit.
        data: its raw columns are emptied.

    Returns:
        By modality, the decoded column.
    """
    folder, limit = Path(config.cache).expanduser() / "columns", int(config.cache_limit * 1e9)
    table = data.table
    columns = {}
    for modality, preprocessor in data.preprocessors.items():
        key = f"{table.fingerprint}/{modality}"
        column = open_column(table.columns[modality], preprocessor, key, folder, limit, table.on_error)
        for name, rows in data.rows.items():
            data.rows[name] = rows[~np.isin(rows, column.bad_rows)]
        table.skipped.extend(column.bad)
        columns[modality] = column
    table.columns.clear()
    release_memory()
    return columns


def describe_data(data: Data) -> list[str]:
    """Describe what was inferred and chosen from the data, what is cut or changed, and what may be a mistake in them.

    Returns:
        Messages that begin with "note: " or "warning: ".
    """
    notes = [f"note: {line}" for line in (*data.table.notes, *data.notes)]
    return [*notes, *(f"warning: {line}" for line in data.table.warnings)]


def build_model(config: RunConfig, data: Data, use_init: bool = True) -> Multimodal:
    """Build the model. Each part draws its initial weights from a random stream of its own.

    Args:
        config: encoders, adapter, fusion and seed.
        data: what the preprocessors know of each modality, and the tasks.
        use_init: load the parts of other runs that `encoder.<modality>.init` names; not needed where all weights are
            loaded afterwards.

    Raises:
        ConfigError: parts do not fit each other or the data.
    """
    encoders: dict[str, Encoder] = {}
    for modality, node in config.encoder.items():
        key_path = f"encoder.{modality}"
        with seeded_generator(config.seed, f"init/{key_path}"):
            encoders[modality] = instantiate(node, key_path, data.metadata[modality], drop=("preprocess", "init"))
        if use_init and "init" in node:
            data.warn(init_from.load_part(encoders[modality], node["init"], f"{key_path}.init", data.fits[key_path]))
    if config.strategy.adapt is not None:
        _adapt(config, data, encoders)
    optional_kwargs = {
        "dims": {modality: encoder.dim for modality, encoder in encoders.items()},
        "num_outputs": sum(task.num_outputs for task in data.tasks.values()),
    }
    with seeded_generator(config.seed, "init/fusion"):
        fusion = instantiate(config.fusion, "fusion", optional_kwargs)
    with seeded_generator(config.seed, "init/head"):
        return Multimodal(encoders, fusion, data.tasks)


def _adapt(config: RunConfig, data: Data, encoders: Mapping[str, Encoder]) -> None:
    """Insert adapters into the encoders, in place."""
    num_adapted = 0
    for modality, encoder in encoders.items():
        with seeded_generator(config.seed, f"init/adapt.{modality}"):
            num_adapted += instantiate(
                config.strategy.adapt, "strategy.adapt", data.metadata[modality], encoder=encoder
            )
    if num_adapted == 0:
        names = ", ".join(f"{modality} ({type(encoder).__name__})" for modality, encoder in encoders.items())
        raise ConfigError(
            f"strategy.adapt: this adapter fits none of the encoders {names}; choose other encoders or another adapter"
        )


def build_objective(config: RunConfig, stage: Stage, data: Data, model: Multimodal) -> Objective:
    """Build a stage's objective; a balance is wrapped around it, then augmentation.

    The objective is offered `model`, the model as the stage finds it, and `open_run`, which returns the model of a
    finished run, among other arguments that its signature may name. It sees the modalities of the stage alone.

    Args:
        config: objectives, balance and augmentation.
        stage: the stage.
        data: kinds and tasks.
        model: that the objective will train.

    Raises:
        ConfigError: the objective does not fit the stage or the data.
    """
    key_path = f"{stage.key_path}.objective"
    optional_kwargs = {
        "model": model,
        "open_run": partial(_open_finished_model, f"{key_path}.teacher", config, data),
        "tasks": data.tasks,
        "kinds": {modality: data.kinds[modality] for modality in stage.modalities},
        "dims": {modality: encoder.dim for modality, encoder in model.encoder.items()},
        "fusion_dim": model.fusion.dim,
        "metadata": {modality: data.metadata[modality] for modality in stage.modalities},
    }
    with seeded_generator(config.seed, f"init/objective/{stage.name}"):
        objective: Objective = instantiate(stage.config.objective, key_path, optional_kwargs)
        _check_targets(stage, objective)
        if config.balance is not None and uses_balance(stage):
            objective = instantiate(config.balance, "balance", optional_kwargs, objective=objective)
        augmentation = augmentation_of(config, stage, data)
        if augmentation is not None:
            objective = instantiate(augmentation, "augment", optional_kwargs, objective=objective)
    return objective


def augmentation_of(config: RunConfig, stage: Stage, data: Data) -> dict[str, Any] | None:
    """Return the node that augments a stage's inputs, for its kinds alone; None where it trains no head or probe.

    Args:
        config: its `augment` node.
        stage: whose modalities and heads decide.
        data: kinds of the modalities.
    """
    if config.augment is None or not stage.heads:
        return None
    kinds = {data.kinds[modality] for modality in stage.modalities}
    by_kind = {kind: node for kind, node in config.augment["by_kind"].items() if kind in kinds and node is not None}
    return {**config.augment, "by_kind": by_kind} if by_kind else None


def uses_balance(stage: Stage) -> bool:
    """Return whether there is something to balance: a head and several encoders that train together.

    Args:
        stage: with its trainable parameters resolved.
    """
    return stage.trains_head and len(stage.trained_encoders) > 1


def _open_finished_model(key_path: str, config: RunConfig, data: Data, run: str) -> Multimodal:
    """Return the frozen model of a finished run that preprocesses its inputs as this one does."""
    folder, other = init_from.open_config(run, key_path)
    for modality, node in other.encoder.items():
        if modality not in config.encoder or config.encoder[modality]["preprocess"] != node["preprocess"]:
            raise ConfigError(
                f"{key_path}: {folder.name} preprocesses {modality} differently; "
                f"use the same encoder.{modality}.preprocess"
            )
    parts = [*(f"encoder.{modality}" for modality in other.encoder), *(f"task.{task}" for task in data.tasks)]
    data.warn(init_from.check_fits(folder, {part: data.fits[part] for part in parts}, key_path))
    model = build_model(other, data, use_init=False)
    checkpoint.load_weights(model, init_from.final_weights(folder, other), folder.path)
    return model.requires_grad_(False).eval()


def build_optimizer(
    config: RunConfig, stage: Stage, model: Multimodal, trainable: Iterable[tuple[str, nn.Parameter]]
) -> torch.optim.Optimizer:
    """Build a stage's optimizer.

    Args:
        config: the run's optimizer.
        stage: its own optimizer, learning rate, scales and layer decay, if any.
        model: whose layers `layer_decay` counts.
        trainable: the parameters by their names in the model; those of the objective have names of their own.
    """
    use_own = stage.config.optimizer is not None
    node: Mapping[str, Any] = stage.config.optimizer if use_own else config.optimizer
    key_path = f"{stage.key_path}.optimizer" if use_own else "optimizer"
    lr = node["lr"] if stage.config.lr is None else stage.config.lr
    decays = None if stage.config.layer_decay is None else lr_decays(model, stage.config.layer_decay)
    groups = parameter_groups(trainable, stage.config.lr_scale, lr, decays)
    optimizer: torch.optim.Optimizer = instantiate(node, key_path, drop=("lr",), params=groups, lr=lr)
    return optimizer


def build_callbacks(config: RunConfig) -> list[Callback]:
    """Build the callbacks that the config names.

    Raises:
        ConfigError: an argument of one of them is wrong.
    """
    return [instantiate(node, f"callbacks.{name}") for name, node in config.callbacks.items()]


def resolve_stages(config: RunConfig, model: Multimodal) -> dict[str, Stage]:
    """Return the stages of a run by name, in order, with the parameters that they train.

    Args:
        config: the strategy.
        model: built, so that its parameters are known.

    Raises:
        ConfigError: a glob of a stage matches nothing.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]  # adapters freeze others
    without_parameters = []
    for modality, encoder in model.encoder.items():
        if not any(True for _ in encoder.parameters()):
            without_parameters.append(f"encoder.{modality}")
    stages = {}
    for stage in expand_stages(config.strategy, config.encoder):
        stages[stage.name] = replace(stage, trainable=trainable_parameters(names, stage, without_parameters))
    return stages


def dry_run_stages(config: RunConfig, data: Data, model: Multimodal, stages: Mapping[str, Stage]) -> None:
    """Build every objective and optimizer once, so that errors are raised before anything is decoded or trained.

    Raises:
        ConfigError: parts do not fit each other.
    """
    try_forward(data, model)
    parameters = dict(model.named_parameters())
    for stage in stages.values():
        objective = build_objective(config, stage, data, model)
        if config.trainer.fsdp and any(isinstance(module, Multimodal) for module in objective.modules()):
            raise ConfigError(
                f"{stage.key_path}.objective: {type(objective).__name__} holds a whole model as its teacher, which "
                "trainer.fsdp does not shard; drop one of the two"
            )
        build_optimizer(config, stage, model, [(name, parameters[name]) for name in sorted(stage.trainable)])
        _check_rows(stage, data)
        _check_monitor(stage, data)
    if config.balance is not None and not any(uses_balance(stage) for stage in stages.values()):
        raise ConfigError("balance: no stage of this strategy trains several encoders with a head; drop balance")
    _check_augmentation(config, data, stages)


def try_forward(data: Data, model: Multimodal) -> None:
    """Pass two rows of zeros through the model, so that shapes that do not fit are an error before data is decoded.

    Args:
        data: its preprocessors determine the shapes.
        model: left as it is.

    Raises:
        ConfigError: an encoder, the fusion or a head cannot read such rows.
    """
    columns = {}
    for modality, preprocessor in data.preprocessors.items():
        columns[modality] = open_blank(data.table.columns[modality], preprocessor, num_rows=2)
    targets = {name: target.values[:2] for name, target in data.table.targets.items()}
    batch = next(Loader(columns, targets, np.arange(2), 2).ordered())
    was_training = model.training
    model.eval()
    with torch.no_grad(), no_side_effects(model, torch.device("cpu")):
        for modality in columns:
            _try(f"encoder.{modality}", partial(model.forward_unimodal, batch, modality))
        _try("fusion", partial(model, batch))
    model.train(was_training)


def _try(key_path: str, forward: Callable[[], object]) -> None:
    try:
        forward()
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{key_path}: cannot read rows of this size: {message}") from error


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


def _check_targets(stage: Stage, objective: Objective) -> None:
    """Reject a stage that learns from targets alone, but reads only rows without one."""
    if stage.config.rows == "unlabelled" and objective.needs_targets:
        raise ConfigError(
            f"{stage.key_path}.rows: unlabelled rows have no target, and {type(objective).__name__} learns from "
            "targets alone; set it to labelled, or choose an objective that needs none (pseudo_label, "
            "self_supervised ...)"
        )


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
    """Reject unknown kinds, and an augmentation that no stage would use."""
    if config.augment is None:
        return
    for kind in config.augment["by_kind"]:
        if kind not in KINDS:
            raise ConfigError(
                f"augment.by_kind.{kind}: no such kind{nearest(kind, KINDS)} (there are {', '.join(KINDS)})"
            )
    if all(augmentation_of(config, stage, data) is None for stage in stages.values()):
        names = ", ".join(f"{modality} ({kind})" for modality, kind in data.kinds.items())
        raise ConfigError(
            f"augment: no stage of this strategy trains a head on a kind that it augments ({names}); drop augment"
        )


def fit_encoders(
    data: Data, columns: Mapping[str, PreprocessedColumn], model: Multimodal, device: torch.device
) -> None:
    """Let encoders learn what no gradient teaches (components, idf), from the training rows with their modality.

    Args:
        data: the training rows.
        columns: decoded, by modality.
        model: its encoders are fitted in place.
        device: of the model.
    """
    for modality, encoder in cast(Mapping[str, Encoder], model.encoder).items():
        loader = Loader({modality: columns[modality]}, {}, data.rows["all"], 256, device=device)
        encoder.fit(_present_inputs(modality, loader))


def _present_inputs(modality: str, loader: Loader) -> Iterator[Input]:
    for batch in loader.ordered():
        x, present = batch.inputs[modality], batch.present[modality]
        yield {part: tensor[present] for part, tensor in x.items()} if isinstance(x, dict) else x[present]


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
    nodes = {"fusion": config.fusion, "optimizer": config.optimizer, "strategy.adapt": config.strategy.adapt}
    nodes |= {"balance": config.balance, "augment": config.augment}
    nodes |= {f"callbacks.{name}": node for name, node in config.callbacks.items()}
    nodes |= {f"tasks.{name}": node for name, node in config.tasks.items()}
    for name, stage in config.strategy.stages.items():
        nodes[f"strategy.stages.{name}.objective"] = stage.objective
        nodes[f"strategy.stages.{name}.optimizer"] = stage.optimizer
    for key_path, node in nodes.items():
        if node is not None:
            check_values(node, key_path)


def check(config: RunConfig) -> list[str]:
    """Build everything of a run except its decoded columns, to raise its errors early.

    Args:
        config: of a run that may never be started.

    Returns:
        What `describe_data` says of its data.

    Raises:
        ConfigError, DataError: the run could not start.
    """
    check_nodes(config)
    check_machine(config.trainer)
    build_callbacks(config)
    data = open_data(config)
    model = build_model(config, data)
    dry_run_stages(config, data, model, resolve_stages(config, model))
    return describe_data(data)
