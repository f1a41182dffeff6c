"""Config becomes objects, here alone: the data, the model, and for each stage its objective and optimiser."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mmrun.compose import instantiate
from mmrun.config import LABELS, RunConfig
from mmrun.data import split
from mmrun.data.loader import Loader
from mmrun.data.packed import release
from mmrun.data.store import PreprocessedColumn, open_column
from mmrun.data.table import SPLITS, Table
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.models.multimodal import Multimodal
from mmrun.run import init_from
from mmrun.seeding import seeded_generator
from mmrun.tasks import for_target
from mmrun.training import checkpoint
from mmrun.training.stages import Stage, expand_stages, parameter_groups, trainable_parameters
from mmrun.types import KINDS, Encoder, Input, Objective, Preprocessor, Task


@dataclass(frozen=True)
class Data:
    """A data set, opened for one run: what to predict, which rows serve for what, how each modality is read."""

    table: Table
    kinds: dict[str, str]  # of the run's modalities
    preprocessors: dict[str, Preprocessor]  # fitted on the training rows
    tasks: dict[str, Task]
    rows: dict[str, np.ndarray]  # all | labelled | unlabelled | bootstrap | val | test -> row numbers, ascending

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """What the preprocessed columns offer to encoders and objectives, by modality."""
        return {modality: preprocessor.metadata for modality, preprocessor in self.preprocessors.items()}


def data(config: RunConfig) -> Data:
    """Open the data set and fit what training rows decide: vocabularies, means, the labelled share."""
    table: Table = instantiate(config.dataset, "dataset", drop=LABELS)
    for name in SPLITS:
        if len(table.rows(name)) == 0:
            raise DataError(f"dataset: no row is in the {name} split; each of {', '.join(SPLITS)} needs some")
    train = table.rows("train")
    labelled = split.labelled_rows(table, config.dataset["labelled"], config.seed, config.dataset["shots"])
    rows = {"all": train, "labelled": labelled, "unlabelled": np.setdiff1d(train, labelled)}
    rows["bootstrap"] = split.bootstrap_rows(labelled, config.seed)
    rows |= {name: table.rows(name) for name in ("val", "test")}
    preprocessors = {}
    for modality, node in config.encoder.items():
        preprocessor: Preprocessor = instantiate(node["preprocess"], f"encoder.{modality}.preprocess")
        preprocessor.fit(table.columns[modality], train)
        preprocessors[modality] = preprocessor
    tasks = {name: for_target(name, target, labelled) for name, target in table.targets.items()}
    kinds = {modality: table.columns[modality].kind for modality in config.encoder}
    return Data(table, kinds, preprocessors, tasks, rows)


def columns(config: RunConfig, opened: Data) -> dict[str, PreprocessedColumn]:
    """Decode each modality, or find it decoded by an earlier run; then let go of the raw values, which outweigh it.

    Rows found bad are taken from `opened.rows`.
    """
    folder, limit = Path(config.cache).expanduser() / "columns", int(config.cache_limit * 1e9)
    table = opened.table
    preprocessed = {}
    for modality, preprocessor in opened.preprocessors.items():
        key = f"{table.fingerprint}/{modality}"
        column = open_column(table.columns[modality], preprocessor, key, folder, limit, table.on_error)
        for name, rows in opened.rows.items():
            opened.rows[name] = rows[~np.isin(rows, column.bad_rows)]
        table.skipped.extend(column.bad)
        preprocessed[modality] = column
    table.columns.clear()
    release()
    return preprocessed


def model(config: RunConfig, opened: Data, begin: bool = True) -> Multimodal:
    """Build the whole model; each part draws its first weights from a stream of its own.

    `begin`: encoders start from the parts of other runs that their `init` names; needless where weights are loaded.
    """
    encoders: dict[str, Encoder] = {}
    adapted = config.strategy.adapt is None
    for modality, node in config.encoder.items():
        key_path = f"encoder.{modality}"
        with seeded_generator(config.seed, f"init/{key_path}"):
            encoders[modality] = instantiate(node, key_path, opened.metadata[modality], drop=("preprocess", "init"))
        if begin and "init" in node:
            init_from.fill(encoders[modality], node["init"], f"{key_path}.init")
        if config.strategy.adapt is not None:
            with seeded_generator(config.seed, f"init/adapt.{modality}"):
                adapted |= instantiate(
                    config.strategy.adapt, "strategy.adapt", opened.metadata[modality], encoder=encoders[modality]
                )
    if not adapted:
        named = ", ".join(f"{modality} ({type(encoder).__name__})" for modality, encoder in encoders.items())
        raise ConfigError(f"strategy.adapt: no encoder can be adapted so: {named}; choose others, or another adapter")
    optional_kwargs = {
        "dims": {modality: encoder.dim for modality, encoder in encoders.items()},
        "num_outputs": sum(task.num_outputs for task in opened.tasks.values()),
    }
    with seeded_generator(config.seed, "init/fusion"):
        fusion = instantiate(config.fusion, "fusion", optional_kwargs)
    with seeded_generator(config.seed, "init/head"):
        return Multimodal(encoders, fusion, opened.tasks)


def objective(config: RunConfig, stage: Stage, learning: set[str], opened: Data, built: Multimodal) -> Objective:
    """Build a stage's objective, which sees the modalities of the stage alone; around it, a balance; then augmentation.

    `model` is the model as the stage finds it, to copy from; `open_run` gives the model of a finished run, a teacher.
    """
    key_path = f"{stage.key_path}.objective"
    optional_kwargs = {
        "model": built,
        "open_run": partial(_finished, f"{key_path}.teacher", config, opened),
        "tasks": opened.tasks,
        "kinds": {modality: opened.kinds[modality] for modality in stage.modalities},
        "dims": {modality: encoder.dim for modality, encoder in built.encoder.items()},
        "fusion_dim": built.fusion.dim,
        "metadata": {modality: opened.metadata[modality] for modality in stage.modalities},
    }
    with seeded_generator(config.seed, f"init/objective/{stage.name}"):
        made: Objective = instantiate(stage.config.objective, key_path, optional_kwargs)
        if config.balance is not None and balanced(learning):
            made = instantiate(config.balance, "balance", optional_kwargs, objective=made)
        augmenting = augmentation(config, stage, learning, opened)
        if augmenting is not None:
            made = instantiate(augmenting, "augment", optional_kwargs, objective=made)
    return made


def augmentation(config: RunConfig, stage: Stage, learning: set[str], opened: Data) -> dict[str, Any] | None:
    """Give what augments a stage's inputs, of its kinds alone; None where no head or probe learns, or nothing does."""
    if config.augment is None or not any(name.startswith(("head.", "probe.")) for name in learning):
        return None
    kinds = {opened.kinds[modality] for modality in stage.modalities}
    by_kind = {kind: node for kind, node in config.augment["by_kind"].items() if kind in kinds and node is not None}
    return {**config.augment, "by_kind": by_kind} if by_kind else None


def balanced(learning: set[str]) -> bool:
    """Tell whether there is something to balance: a head and several encoders that learn together."""
    return len({name.split(".")[1] for name in learning if name.startswith("encoder.")}) > 1 and any(
        name.startswith("head.") for name in learning
    )


def _finished(key_path: str, config: RunConfig, opened: Data, run: str) -> Multimodal:
    """Give the model of a finished run that reads the same preprocessed data; nothing in it learns."""
    folder, other = init_from.config_of(run, key_path)
    for modality, node in other.encoder.items():
        if modality not in config.encoder or config.encoder[modality]["preprocess"] != node["preprocess"]:
            raise ConfigError(
                f"{key_path}: {folder.name} reads {modality} in another way; give encoder.{modality}.preprocess alike"
            )
    built = model(other, opened, begin=False)
    checkpoint.load_weights(built, init_from.weights(folder, other), folder.path)
    return built.requires_grad_(False).eval()


def optimizer(config: RunConfig, stage: Stage, learning: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """Build a stage's optimiser over the named parameters that learn."""
    node: Mapping[str, Any] = config.optimizer if stage.config.optimizer is None else stage.config.optimizer
    key_path = "optimizer" if stage.config.optimizer is None else f"{stage.key_path}.optimizer"
    lr = node["lr"] if stage.config.lr is None else stage.config.lr
    made: torch.optim.Optimizer = instantiate(
        node,
        key_path,
        drop=("lr",),
        params=parameter_groups(learning, stage.config.lr_scale, lr, stage.config.layer_decay),
        lr=lr,
    )
    return made


Stages = dict[str, tuple[Stage, set[str]]]  # by name, with the names of the parameters that learn in it


def stages(config: RunConfig, built: Multimodal) -> Stages:
    """Give the stages of a run, in order."""
    names = [name for name, parameter in built.named_parameters() if parameter.requires_grad]  # adapters hold the rest
    fixed = [
        f"encoder.{name}" for name, encoder in built.encoder.items() if not any(True for _ in encoder.parameters())
    ]
    return {
        stage.name: (stage, trainable_parameters(names, stage, fixed))
        for stage in expand_stages(config.strategy, config.encoder)
    }


def dry_run_stages(config: RunConfig, opened: Data, built: Multimodal, resolved: Stages) -> None:
    """Build every objective and optimiser once for trial: what cannot work is said before anything is decoded."""
    parameters = dict(built.named_parameters())
    for stage, learning in resolved.values():
        made = objective(config, stage, learning, opened, built)
        if config.trainer.fsdp and any(isinstance(module, Multimodal) for module in made.modules()):
            raise ConfigError(
                f"{stage.key_path}.objective: {type(made).__name__} has a whole model to learn from, which "
                "trainer.fsdp does not cut; drop one of the two"
            )
        optimizer(config, stage, [(name, parameters[name]) for name in sorted(learning)])
    if config.balance is not None and not any(balanced(learning) for _, learning in resolved.values()):
        raise ConfigError("balance: no stage of this strategy trains several encoders with a head; drop balance")
    _check_augment(config, opened, resolved)


def _check_augment(config: RunConfig, opened: Data, resolved: Stages) -> None:
    """Refuse kinds that there are not, and an augmentation that no stage would see."""
    if config.augment is None:
        return
    for kind in config.augment["by_kind"]:
        if kind not in KINDS:
            raise ConfigError(
                f"augment.by_kind.{kind}: no such kind{nearest(kind, KINDS)} (there are {', '.join(KINDS)})"
            )
    if all(augmentation(config, *one, opened) is None for one in resolved.values()):
        named = ", ".join(f"{modality} ({kind})" for modality, kind in opened.kinds.items())
        raise ConfigError(
            f"augment: no stage of this strategy trains a head on what it changes, of {named}; drop augment"
        )


def fit(opened: Data, columns: Mapping[str, PreprocessedColumn], built: Multimodal, device: torch.device) -> None:
    """Let encoders learn what no gradient teaches, from the training rows that have their modality."""
    for modality, encoder in cast(Mapping[str, Encoder], built.encoder).items():
        encoder.fit(
            _inputs(modality, Loader({modality: columns[modality]}, {}, opened.rows["all"], 256, device=device))
        )


def _inputs(modality: str, loader: Loader) -> Iterator[Input]:
    for batch in loader.ordered():
        x, present = batch.inputs[modality], batch.present[modality]
        yield {part: tensor[present] for part, tensor in x.items()} if isinstance(x, dict) else x[present]


def check(config: RunConfig) -> None:
    """Build everything of a run but its decoded columns."""
    opened = data(config)
    built = model(config, opened)
    dry_run_stages(config, opened, built, stages(config, built))
