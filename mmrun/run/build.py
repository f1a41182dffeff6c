"""Builds the objects of a run from its config: model, callbacks, and for each stage its objective and optimizer."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mmrun import hub
from mmrun.compose import AUGMENTATIONS
from mmrun.config import RunConfig
from mmrun.data import split
from mmrun.data.align.options import list_windows, parse_alignments
from mmrun.data.loader import Loader
from mmrun.data.store import PreprocessedColumn
from mmrun.errors import ConfigError, DamagedError
from mmrun.instantiate import instantiate
from mmrun.models.compress.structure import apply_structure
from mmrun.models.fusions.filled import Filled
from mmrun.models.items import ItemEncoder
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.augment import Augment
from mmrun.objectives.losses import has_true_classes
from mmrun.recipe import is_adapted
from mmrun.results.files import explain_mend
from mmrun.results.folder import RunFolder
from mmrun.results.schema import ClassTokens
from mmrun.run import init_from
from mmrun.run.class_names import build_heads, start_from_class_names, tokenize_class_names
from mmrun.run.data import Data, Fitted
from mmrun.seeding import seeded_generator
from mmrun.training import checkpoint
from mmrun.training.callback import Callback
from mmrun.training.stages import (
    Stage,
    expand_stages,
    lr_decays,
    parameter_groups,
    parameters_without_weight_decay,
    trainable_parameters,
)
from mmrun.types import KINDS, Encoder, Fusion, Input, Objective, Task


def build_model(config: RunConfig, data: Data, stream: str = "init") -> Multimodal:
    """Build the model with its initial weights. Each part draws them from a random stream of its own.

    Args:
        config: encoders, adapter, fusion, heads and seed.
        data: what the preprocessors know of each modality, and the tasks.
        stream: of the initial weights; that of each part has its name appended.

    Raises:
        ConfigError: parts do not fit each other or the data, or the weights that an `init` key names.
    """
    model = _build_parts(config, data, stream, tokenize_class_names(config, data))
    if config.head.prompt is not None and config.strategy.head is None:
        start_from_class_names(model, config, data)
    data.warn(init_from.load_initial_weights(model, config, data.fits))
    _adapt(config, data, model, stream)
    return model


def build_blank_model(config: RunConfig, fitted: Fitted, folder: RunFolder) -> Multimodal:
    """Build the model of a run whose weights are loaded afterwards.

    Args:
        config: as for `build_model`.
        fitted: what the training rows of the run decided.
        folder: of the run; it holds the config files of models of a hub, and the shapes of a compressed model.

    Raises:
        DamagedError: these shapes are not those of the model.
    """
    model = build_uncompressed_model(config, fitted, folder)
    compression = folder.read_compression()
    if compression is not None:
        try:
            apply_structure(model, compression["structure"])
        except ConfigError as error:
            file = folder.compression_file
            raise DamagedError(f"{file}: damaged, {error}; {explain_mend(file)}") from None
    return model


def build_uncompressed_model(config: RunConfig, fitted: Fitted, folder: RunFolder) -> Multimodal:
    """Build the model that the config of a run describes, without weights.

    Args:
        config: as for `build_model`.
        fitted: what the training rows of the run decided.
        folder: of the run.
    """
    with hub.without_weights(folder.hub):
        model = _build_parts(config, fitted, "init", _read_class_tokens(config, folder))
        _adapt(config, fitted, model, "init")
    return model


def _read_class_tokens(config: RunConfig, folder: RunFolder) -> dict[str, ClassTokens]:
    """Return the class names of a run by task, where its strategy builds heads from them."""
    if config.strategy.head is None:
        return {}
    if not folder.fitted_file.exists():
        raise DamagedError(
            f"{folder.fitted_file}: is not there, and the head of this run is built from the class names in it; "
            "put the file back, or train the run again"
        )
    return {name: task["class_tokens"] for name, task in folder.read_fitted()["tasks"].items()}


def _build_parts(config: RunConfig, fitted: Fitted, stream: str, class_tokens: Mapping[str, ClassTokens]) -> Multimodal:
    """Build encoders, fusion and heads with random weights, or those that an encoder loads from a hub."""
    encoders: dict[str, Encoder] = {}
    for modality, node in config.encoder.items():
        key_path = f"encoder.{modality}"
        with seeded_generator(config.seed, f"{stream}/{key_path}"):
            encoder: Encoder = instantiate(node, key_path, fitted.metadata[modality], drop=("preprocess", "init"))
        pooling = fitted.metadata[modality].get("item_pooling")
        encoders[modality] = encoder if pooling is None else ItemEncoder(encoder, pooling)
    dims = {modality: encoder.dim for modality, encoder in encoders.items()}
    optional_kwargs = {
        "dims": dims,
        "num_outputs": sum(task.num_outputs for task in fitted.tasks.values()),
        "windows": list_windows(parse_alignments(config.dataset.get("align"))),
    }
    with seeded_generator(config.seed, f"{stream}/fusion"):
        fusion: Fusion = instantiate(config.fusion, "fusion", optional_kwargs, drop=("init",))
        _check_classes(fusion, fitted.tasks)
        if config.missing != "absent" and config.missing != "drop":
            fusion = Filled(fusion, dims, config.missing)
    with seeded_generator(config.seed, f"{stream}/head"):
        heads = build_heads(config, fusion, class_tokens)
        return Multimodal(encoders, fusion, fitted.tasks, heads)


def _adapt(config: RunConfig, fitted: Fitted, model: Multimodal, stream: str) -> None:
    """Insert the adapters of the strategy, if it has any, into the encoders."""
    if config.strategy.adapt is None:
        return
    encoders, num_adapted = cast("dict[str, Encoder]", dict(model.encoder.items())), 0
    encoders = {modality: encoder for modality, encoder in encoders.items() if is_adapted(config.strategy, modality)}
    for modality, encoder in encoders.items():
        with seeded_generator(config.seed, f"{stream}/adapt.{modality}"):
            num_adapted += instantiate(
                config.strategy.adapt, "strategy.adapt", fitted.metadata[modality], encoder=encoder
            )
    if num_adapted == 0:
        names = ", ".join(f"{modality} ({type(encoder).__name__})" for modality, encoder in encoders.items())
        raise ConfigError(
            f"strategy.adapt: this adapter fits none of the encoders {names}; choose other encoders or another adapter"
        )


def _check_classes(fusion: Fusion, tasks: Mapping[str, Task]) -> None:
    """Refuse numbers where a fusion weighs modalities by how sure they are of classes or labels."""
    numbers = [name for name, task in tasks.items() if not has_true_classes(task)]
    if fusion.needs_classes and numbers:
        raise ConfigError(
            f"fusion: {type(fusion).__name__} fuses logits of classes or labels, and '{numbers[0]}' is a regression; "
            "choose another fusion"
        )


def build_objective(config: RunConfig, stage: Stage, data: Data, model: Multimodal) -> Objective:
    """Build a stage's objective; a balance is wrapped around it, then augmentation.

    The objective is offered `model`, the model as the stage finds it, and `open_run`, which returns the model of a
    finished run, among other arguments that its signature may name. It sees the modalities of the stage alone. A
    balance is also offered `hold_out_rows(SHARE)`, which chooses labelled rows of the stage that are not trained on.

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
            _check_backward(stage, objective)
            optional_kwargs["hold_out_rows"] = partial(_hold_out_rows, stage, data, config.seed)
            objective = instantiate(config.balance, "balance", optional_kwargs, objective=objective)
        augmentation = augmentation_of(config, stage, data)
        if augmentation is not None:
            objective = Augment(objective, instantiate(augmentation, "augment", optional_kwargs))
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
    return select_augmentation(config.augment, {modality: data.kinds[modality] for modality in stage.modalities})


def select_augmentation(augment: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what a node says of some modalities; None if it augments none of them.

    Args:
        augment: the node.
        kinds: of the modalities.
    """
    by_modality = augment.get("by_modality") or {}
    by_modality = {modality: node for modality, node in by_modality.items() if modality in kinds}
    with_kind = {kind for modality, kind in kinds.items() if modality not in by_modality}
    node = {key: value for key, value in augment.items() if key not in (*KINDS, "by_modality")}
    is_ours = node["_target_"] == AUGMENTATIONS  # a class of the user's may augment without such keys
    node |= {kind: augment[kind] for kind in KINDS if kind in with_kind and augment.get(kind) is not None}
    if by_modality:
        node["by_modality"] = by_modality
    augments = any(kind in node for kind in KINDS) or any(by_modality.values())
    return node if augments or not is_ours else None


def uses_balance(stage: Stage) -> bool:
    """Return whether there is something to balance: a head and several encoders that train together.

    Args:
        stage: with its trainable parameters resolved.
    """
    return stage.trains_head and len(stage.trained_encoders) > 1


def _check_backward(stage: Stage, objective: Objective) -> None:
    """Reject an objective that computes its own gradients, since a balance would ignore them."""
    if type(objective).backward is not Objective.backward:
        raise ConfigError(
            f"{stage.key_path}.objective: {type(objective).__name__} computes its gradients itself, so that no balance "
            "can change them; drop balance, or choose another objective"
        )


def _hold_out_rows(stage: Stage, data: Data, seed: int, share: float) -> torch.Tensor:
    """Return which rows of the table a stage holds out: a share of its labelled rows, [N] bool."""
    labelled = np.intersect1d(data.rows[stage.config.rows], data.rows["labelled"])
    rows = split.choose_held_out_rows(data.table, labelled, share, seed)
    if len(rows) == 0:
        raise ConfigError(
            f"balance.held_out: {share:g} of the {len(labelled)} labelled rows of stage {stage.name} is no row, as one "
            "of each class stays in training; label more rows, raise it, or choose another balance"
        )
    held_out = torch.zeros(len(data.table.ids), dtype=torch.bool)
    held_out[rows] = True
    return held_out


def _describe_same_preprocess(key_path: str, actual: Any, expected: Any) -> str:
    """Return the overrides that make two preprocessors equal, if they are of one class."""
    if not isinstance(actual, Mapping) or not isinstance(expected, Mapping) or actual.keys() != expected.keys():
        return f"use the same {key_path}"
    if actual["_target_"] != expected["_target_"]:
        return f"use the same {key_path}"
    differing = [key for key, value in expected.items() if actual[key] != value]
    return f"add {' '.join(f'{key_path}.{key}={_format_value(expected[key])}' for key in differing)}"


def _format_value(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # without spaces, which a shell would split


def _open_finished_model(key_path: str, config: RunConfig, data: Data, run: str) -> Multimodal:
    """Return the frozen model of a finished run that preprocesses its inputs as this one does."""
    folder, other = init_from.open_config(run, key_path)
    for modality, node in other.encoder.items():
        actual = config.encoder[modality]["preprocess"] if modality in config.encoder else None
        if actual != node["preprocess"]:
            raise ConfigError(
                f"{key_path}: {folder.name} preprocesses {modality} differently; "
                f"{_describe_same_preprocess(f'encoder.{modality}.preprocess', actual, node['preprocess'])}"
            )
    parts = [*(f"encoder.{modality}" for modality in other.encoder), *(f"task.{task}" for task in data.tasks)]
    data.warn(init_from.check_fits(folder, {part: data.fits[part] for part in parts}, key_path))
    model = build_blank_model(other, data, folder)
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
    factors = {} if stage.config.layer_decay is None else lr_decays(model, stage.config.layer_decay)
    for modality, encoder_lr in (config.encoder_lr or {}).items():
        for name, _ in model.encoder[modality].named_parameters(prefix=f"encoder.{modality}"):
            factors[name] = factors.get(name, 1.0) * encoder_lr / lr
    trainable = list(trainable)
    decays_weights = node.get("weight_decay", 0.0) > 0
    exempt = parameters_without_weight_decay(model, trainable) if decays_weights else set()
    groups = parameter_groups(trainable, stage.config.lr_scale, lr, factors, exempt)
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
    if not any(True for _ in model.fusion.parameters()):
        without_parameters.append("fusion")
    stages = {}
    for stage in expand_stages(config.strategy, config.encoder):
        stages[stage.name] = replace(stage, trainable=trainable_parameters(names, stage, without_parameters))
    return stages


def _check_targets(stage: Stage, objective: Objective) -> None:
    """Reject a stage that learns from targets alone, but reads only rows without one."""
    if stage.config.rows == "unlabelled" and objective.needs_targets:
        raise ConfigError(
            f"{stage.key_path}.rows: unlabelled rows have no target, and {type(objective).__name__} learns from "
            "targets alone; set it to labelled, or choose an objective that needs none (pseudo_label, "
            "self_supervised ...)"
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
