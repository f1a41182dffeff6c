"""Config becomes objects, here alone: the data, the model, and for each stage its objective and optimiser."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmrun.compose import make
from mmrun.config import RunConfig
from mmrun.data import split
from mmrun.data.store import Prepared, open_column
from mmrun.data.table import SPLITS, Table
from mmrun.errors import DataError
from mmrun.models.multimodal import Multimodal
from mmrun.streams import drawn_from
from mmrun.tasks import for_target
from mmrun.training.stages import Stage, expand, parameter_groups, trainable
from mmrun.types import Encoder, Objective, Preparer, Task


@dataclass(frozen=True)
class Data:
    """A data set, opened for one run: what to predict, which rows serve for what, how each modality is read."""

    table: Table
    kinds: dict[str, str]  # of the run's modalities
    preparers: dict[str, Preparer]  # fitted on the training rows
    tasks: dict[str, Task]
    rows: dict[str, np.ndarray]  # all | labelled | unlabelled (training rows) | val | test -> row numbers, ascending

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What the prepared columns offer to encoders and objectives, by modality."""
        return {modality: preparer.facts for modality, preparer in self.preparers.items()}


def data(config: RunConfig) -> Data:
    """Open the data set and fit what training rows decide: vocabularies, means, the labelled share."""
    table: Table = make(config.dataset, "dataset", drop=("labelled",))
    for name in SPLITS:
        if len(table.rows(name)) == 0:
            raise DataError(f"dataset: no row is in the {name} split; each of {', '.join(SPLITS)} needs some")
    train = table.rows("train")
    labelled = split.labelled_rows(table, config.dataset["labelled"], config.seed)
    rows = {"all": train, "labelled": labelled, "unlabelled": np.setdiff1d(train, labelled)}
    rows |= {name: table.rows(name) for name in ("val", "test")}
    preparers = {}
    for modality, node in config.encoder.items():
        preparer: Preparer = make(node["prepare"], f"encoder.{modality}.prepare")
        preparer.fit(table.columns[modality], train)
        preparers[modality] = preparer
    tasks = {name: for_target(name, target, labelled) for name, target in table.targets.items()}
    kinds = {modality: table.columns[modality].kind for modality in config.encoder}
    return Data(table, kinds, preparers, tasks, rows)


def columns(config: RunConfig, opened: Data) -> dict[str, Prepared]:
    """Decode each modality, or find it decoded by an earlier run; rows found bad are taken from `opened.rows`."""
    folder, limit = Path(config.cache).expanduser() / "columns", int(config.cache_limit * 1e9)
    table = opened.table
    prepared = {}
    for modality, preparer in opened.preparers.items():
        key = f"{table.fingerprint}/{modality}"
        column = open_column(table.columns[modality], preparer, key, folder, limit, table.on_error)
        for name, rows in opened.rows.items():
            opened.rows[name] = np.setdiff1d(rows, column.bad_rows)
        table.skipped.extend(column.bad)
        prepared[modality] = column
    return prepared


def model(config: RunConfig, opened: Data) -> Multimodal:
    """Build the whole model; each part draws its first weights from a stream of its own."""
    encoders: dict[str, Encoder] = {}
    for modality, node in config.encoder.items():
        where = f"encoder.{modality}"
        with drawn_from(config.seed, f"init/{where}"):
            encoders[modality] = make(node, where, opened.facts[modality], drop=("prepare",))
    offer = {
        "dims": {modality: encoder.dim for modality, encoder in encoders.items()},
        "num_outputs": sum(task.num_outputs for task in opened.tasks.values()),
    }
    with drawn_from(config.seed, "init/fusion"):
        fusion = make(config.fusion, "fusion", offer)
    with drawn_from(config.seed, "init/head"):
        return Multimodal(encoders, fusion, opened.tasks)


def objective(config: RunConfig, stage: Stage, opened: Data, built: Multimodal) -> Objective:
    """Build a stage's objective, which sees the modalities of the stage alone."""
    offer = {
        "tasks": opened.tasks,
        "kinds": {modality: opened.kinds[modality] for modality in stage.modalities},
        "dims": {modality: encoder.dim for modality, encoder in built.encoder.items()},
        "fusion_dim": built.fusion.dim,
        "facts": {modality: opened.facts[modality] for modality in stage.modalities},
    }
    with drawn_from(config.seed, f"init/objective/{stage.name}"):
        made: Objective = make(stage.config.objective, f"{stage.where}.objective", offer)
    return made


def optimizer(config: RunConfig, stage: Stage, learning: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """Build a stage's optimiser over the named parameters that learn."""
    node: Mapping[str, Any] = config.optimizer if stage.config.optimizer is None else stage.config.optimizer
    where = "optimizer" if stage.config.optimizer is None else f"{stage.where}.optimizer"
    lr = node["lr"] if stage.config.lr is None else stage.config.lr
    made: torch.optim.Optimizer = make(
        node, where, drop=("lr",), params=parameter_groups(learning, stage.config.lr_scale, lr), lr=lr
    )
    return made


def stages(config: RunConfig, opened: Data, built: Multimodal) -> dict[str, tuple[Stage, set[str]]]:
    """Give each stage by name, with the names of the parameters that learn in it.

    Its objective and optimiser are built once for trial: what cannot work is said before anything trains.
    """
    parameters = dict(built.named_parameters())
    resolved = {}
    for stage in expand(config.strategy, config.encoder):
        learning = trainable(parameters, stage)
        objective(config, stage, opened, built)
        optimizer(config, stage, [(name, parameters[name]) for name in sorted(learning)])
        resolved[stage.name] = (stage, learning)
    return resolved


def check(config: RunConfig) -> None:
    """Build everything of a run but its decoded columns."""
    opened = data(config)
    stages(config, opened, model(config, opened))
