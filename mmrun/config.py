"""Every key of a config. A *node* is a mapping with a `_target_`, which `mmrun.instantiate` turns into an object.

The types and ranges of the keys are their annotations, which `mmrun.values` checks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_type_hints

from mmrun.errors import ConfigError, nearest
from mmrun.values import (
    NonNegativeFloat,
    OpenShare,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    Range,
    ShareBelow1,
    convert,
    format_value,
)

Node = Any  # a mapping with a `_target_`, which `instantiate` checks
Values = Mapping[str, Any]  # a config, or a part of one, as plain values

# What a key changes is declared once, with its field. It decides which configs are the same run, which stages can be
# reused, and which features of frozen encoders can be shared.
NOTHING = 0  # no result: where files go, what is logged
TRAINING = 1  # the result of training
FORWARD = 2  # the bits of a forward pass, and so the result of training too


def changes(what: int, default: object = None, later: bool = False, **kwargs: Any) -> Any:
    """Declare a config field together with what it changes.

    Args:
        what: NOTHING, TRAINING or FORWARD.
        default: of the field.
        later: the key came after version 0.1.0; with its default, runs are those without it.
        **kwargs: passed to `dataclasses.field`, in place of `default`.

    Returns:
        The field of a dataclass.
    """
    metadata = {"changes": what, "later": later}
    if kwargs:
        return field(metadata=metadata, **kwargs)
    return field(default=default, metadata=metadata)


def relevant_keys(part: "StageConfig | TrainerConfig", least: int) -> dict[str, object]:
    """Return the keys of a config that change at least so much, with their values.

    Args:
        part: a part of the config. A field that does not declare what it changes, changes the result of training.
        least: TRAINING or FORWARD.
    """
    relevant = [key.name for key in fields(part) if key.metadata.get("changes", TRAINING) >= least]
    return {name: getattr(part, name) for name in relevant}


def result_config(values: Values) -> dict[str, object]:
    """Return the keys of a run's config that can change its result: two configs are the same run if these are equal.

    Args:
        values: a `RunConfig` as a plain mapping.
    """
    result = _effective_keys(RunConfig, values)
    result["trainer"] = _effective_keys(TrainerConfig, values["trainer"])
    stages = {name: _effective_keys(StageConfig, stage) for name, stage in values["strategy"]["stages"].items()}
    result["strategy"] = {**_effective_keys(StrategyConfig, values["strategy"]), "stages": stages}
    if not result.get("tasks"):
        result.pop("tasks", None)  # configs of earlier versions lack the key
    if result.get("head") == asdict(HeadConfig()):
        del result["head"]  # likewise
    callbacks = values.get("callbacks", {})
    result["callbacks"] = {name: node for name, node in callbacks.items() if node["_target_"] not in OBSERVERS}
    return result


def _effective_keys(kind: type, values: Values) -> dict[str, object]:
    without_effect = {key.name for key in fields(kind) if key.metadata.get("changes", TRAINING) == NOTHING}
    for key in fields(kind):
        if key.metadata.get("later") and values.get(key.name) == key.default:
            without_effect.add(key.name)
    return {name: value for name, value in values.items() if name not in without_effect}


def config_dir() -> Path:
    """Return the folder of the shipped YAML files.

    Returns:
        `configs` of the repository in development, else the copy inside the installed package.
    """
    package = Path(__file__).resolve().parent
    repository = package.parent / "configs"
    return repository if (repository / "train.yaml").is_file() else package / "configs"


@dataclass
class BudgetConfig:
    """What all stages of a run may spend together. At most one key is set; none means 10 epochs, and at least 60 steps.

    A stage that reads k of the M modalities spends k/M for each row and step: in one epoch, every modality of every
    training row is read once.
    """

    epochs: PositiveFloat | None = None  # passes over the training rows
    steps: PositiveInt | None = None  # optimizer steps
    samples: PositiveInt | None = None  # rows
    flops: PositiveFloat | None = None  # forward and backward, counted on the first batch of a stage
    seconds: PositiveFloat | None = None  # of training; evaluation is not counted


@dataclass
class StageConfig:
    """One stage of a strategy: an objective, what it trains, on which rows, for which share of the budget."""

    objective: Node = None
    train: list[str] = field(default_factory=list)  # globs over parameter names; for_each replaces {modality}
    reinitialize: bool = False  # what earlier stages trained starts anew; a teacher is the model before that
    unfreeze_top: PositiveShare | None = None  # of each encoder's modules, counted from its output; None: all
    for_each: Literal["modality"] | None = None  # one copy of the stage per modality; the copies divide the share
    rows: Literal["labelled", "all", "unlabelled", "bootstrap"] = "labelled"  # bootstrap: labelled, with replacement
    balanced_batches: bool = False  # batches have as many rows of each class of the first task
    labelled_share: OpenShare | None = None  # of each batch, with rows=all; None: as many labelled rows as come
    share: PositiveFloat = 1.0  # of the budget; the shares of a strategy are divided by their sum
    optimizer: Node = None  # None: that of the run
    lr: PositiveFloat | None = None  # None: that of the optimizer
    lr_scale: dict[str, NonNegativeFloat] = field(default_factory=dict)  # glob -> factor on lr; the last match counts
    layer_decay: PositiveShare | None = None  # factor on lr from one layer to the next, from the output down (timm's)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: ShareBelow1 = 0.05  # share of the stage
    max_grad_norm: PositiveFloat | None = None  # gradients are clipped to this norm
    grad_accum_steps: PositiveInt = 1  # micro-batches per batch
    keep: Literal["best", "last"] = "best"  # which weights the next stage gets
    ema_decay: OpenShare | None = None  # per step; the result of the stage is then the moving average of its weights
    monitor: str = "loss"  # selects the best weights on validation rows: loss, primary_metric, or a metric: f1_macro
    patience: PositiveInt | None = None  # evaluations without improvement before the stage ends; None: no early stop
    # the stage ends at the first evaluation whose monitored value is at least as good: 0.9; None: at no value
    stopping_threshold: float | None = changes(TRAINING, None, later=True)
    # WiSE-FT: the result has this share of the trained weights, and the rest of those that the stage starts from
    interpolate: OpenShare | None = changes(TRAINING, None, later=True)
    without_model: bool = changes(NOTHING, False)  # a stage that is left out where `model` starts the run
    reuse: bool = changes(NOTHING, False)  # store the result, and load it if everything that determines it is equal

    def __post_init__(self) -> None:
        """Accept the name that a metric has in the log: val/accuracy is accuracy."""
        self.monitor = self.monitor.removeprefix("val/")


@dataclass
class StrategyConfig:
    """Named stages, in order."""

    stages: dict[str, StageConfig] = field(default_factory=dict)
    adapt: Node = None  # one of models.adapters; None: encoders without adapters
    adapt_modalities: list[str] | None = changes(TRAINING, None, later=True)  # None: the encoders of all are adapted
    head: Node = changes(TRAINING, None, later=True)  # one of models.heads; None: the fusion decides
    # by kind, for modalities whose encoder is not chosen; the result is in `encoder`
    encoders: dict[str, str] = changes(NOTHING, default_factory=dict)


@dataclass
class HeadConfig:
    """Where the heads on the fused vector start."""

    init: str | None = None  # RUN:head, the heads of another run
    prompt: str | None = None  # a photo of a {class}: zero-shot heads of class names, for aligned towers


@dataclass
class TrainerConfig:
    """How training runs, whatever the method."""

    # rows of an optimizer step, over all devices; auto: as many as fit into memory
    batch_size: Annotated[Any, PositiveInt | Literal["auto"]] = 64
    eval_batch_size: PositiveInt = changes(FORWARD, 256)
    precision: Literal["fp32", "bf16", "fp16"] = changes(FORWARD, "fp32")
    device: Literal["auto", "cpu"] = "auto"
    # auto: on a GPU; reduce-overhead: with CUDA graphs
    compile: Literal[False, True, "auto", "reduce-overhead", "max-autotune"] = False
    channels_last: Literal["auto", False, True] = changes(FORWARD, "auto")  # memory layout of images; auto: on a GPU
    tf32: bool = changes(FORWARD, True)  # on a GPU, round fp32 products to TF32's 10 bits
    deterministic: bool = changes(FORWARD, True)  # on a GPU, only kernels that return the same bits each time
    offload_activations: bool = False  # keep the activations for the backward pass in CPU memory
    group_by_length: bool = False  # rows of similar length share batches, so that less is padded
    fsdp: bool = changes(NOTHING, False)  # under torchrun, shard parameters over the devices
    evaluate_every: PositiveFloat = 1.0  # epochs of the run; a stage with half of the budget, half as many
    on_nan: Literal["stop", "skip", "rollback"] = changes(TRAINING, "stop", later=True)  # where a loss is not finite
    cache_features: bool = True  # compute the output of a frozen encoder once per row, and train on that
    save_every: NonNegativeFloat = changes(NOTHING, 60.0)  # seconds between checkpoints; a stage's end is always saved
    log_modality_gradients: bool = changes(NOTHING, False)  # at each evaluation: gradient shares and conflicts
    # the runs of a sweep that differ in seeds and learning rates alone train as one computation
    vectorize: bool = changes(NOTHING, False)
    profile: bool = changes(NOTHING, False)  # profile a few steps of each stage
    progress: bool = changes(NOTHING, True)  # a live progress bar, on a terminal


Missing = Literal["absent", "zero", "mean", "token", "generate", "drop"]


@dataclass
class RunConfig:
    """The resolved config of one run, as stored in config.yaml of its run folder."""

    dataset: dict[str, Any] = field(default_factory=dict)  # node of a source, plus LABELS
    modalities: list[str] | None = None  # None: all of the data set
    # a pretrained model, whose towers are encoders: family and path, and by kind the modality that its tower reads
    model: dict[str, str | None] | None = changes(NOTHING, None)
    encoder: dict[str, Node] = field(default_factory=dict)  # node by modality; it has a `preprocess` node, maybe `init`
    # learning rates of encoders by modality, those of the others being that of the optimizer; None: no encoder has one
    encoder_lr: dict[str, PositiveFloat] | None = changes(TRAINING, None, later=True)
    fusion: Node = None  # may have an `init`
    # what a fusion sees of a missing modality: that it is absent; or zeros, a running mean, a learned token or what is
    # generated from the others in its place. drop: training rows that lack one are left out
    missing: Missing = changes(TRAINING, "absent", later=True)
    head: HeadConfig = field(default_factory=HeadConfig)
    init: str | None = changes(TRAINING, None, later=True)  # a run, all parts of which start this one where they match
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    balance: Node = None  # one of objectives.balance; None: gradients are not changed
    augment: Node = None  # one of objectives.augment; None: inputs are not changed
    callbacks: dict[str, Node] = field(default_factory=dict)  # node by name
    tasks: dict[str, Node] = field(default_factory=dict)  # the user's own, by target
    optimizer: Node = None
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: Annotated[int, Range(at_least=0, at_most=2**32 - 1)] = 0
    experiment: str = changes(NOTHING, "default")  # folder below outputs: the name of the chosen experiment
    outputs: str = changes(NOTHING, "outputs")
    cache: str = changes(NOTHING, "~/.cache/mmrun")  # decoded columns, reused stages, features
    cache_limit: NonNegativeFloat = changes(NOTHING, 50.0)  # GB per modality; larger ones are decoded for each batch
    tag: str | list[str] | None = changes(NOTHING, None)  # of `mmrun ls`: pilot, or several: [pilot, v2]
    note: str | None = changes(NOTHING, None)  # `mmrun note` changes it later
    choices: dict[str, str] = changes(NOTHING, default_factory=dict)  # the YAML file chosen: strategy -> component


# Top-level keys that do not change the result
WITHOUT_EFFECT = tuple(key.name for key in fields(RunConfig) if key.metadata.get("changes", TRAINING) == NOTHING)

OBSERVERS = ("mmrun.run.callbacks.Tracker",)  # callbacks that do not change the result

# Keys of every data set that choose the training rows whose targets are used, with their values where a YAML has none
LABEL_DEFAULTS: dict[str, float | None] = {"labelled": 1.0, "shots": None}
LABELS = tuple(LABEL_DEFAULTS)

# Arguments of optimizers, whose classes declare no ranges
OPTIMIZER_ARGUMENTS = {
    "lr": PositiveFloat,
    "weight_decay": NonNegativeFloat,
    "momentum": ShareBelow1,
    "dampening": ShareBelow1,
    "betas": tuple[ShareBelow1, ShareBelow1],
    "eps": NonNegativeFloat,
}


def schema(kind: type) -> type:
    """Return a dataclass with the keys of a config whose values may be anything.

    Hydra composes with it: it knows which keys there are, and leaves values as they were written, so that `convert`
    sees `true` where a number belongs.

    Args:
        kind: RunConfig, or one of its parts.
    """
    annotations = get_type_hints(kind)
    keys: list[tuple[str, Any, Any]] = []
    for key in fields(kind):
        if key.name == "choices":  # of files; no override sets it
            continue
        annotation = annotations[key.name]
        item = get_args(annotation)[-1] if get_args(annotation) else None
        if is_dataclass(annotation):
            part = schema(cast(type, annotation))
            keys.append((key.name, part, field(default_factory=part)))
        elif is_dataclass(item):
            keys.append((key.name, dict[str, schema(cast(type, item))], field(default_factory=dict)))  # type: ignore[misc]
        elif key.default is MISSING:
            assert key.default_factory is not MISSING
            keys.append((key.name, Any, field(default_factory=key.default_factory)))
        else:
            keys.append((key.name, Any, field(default=key.default)))
    return make_dataclass(f"{kind.__name__}Keys", keys)


def parse(values: Values) -> "RunConfig":
    """Convert plain values to a config.

    Args:
        values: of the keys that are not at their defaults.

    Raises:
        ConfigError: a key does not exist, or a value does not have the type or range that its key declares.
    """
    config: RunConfig = convert(values, RunConfig, "")
    return config


def check(config: RunConfig) -> None:
    """Reject values that no run can use together, though each fits its key.

    Args:
        config: of a run, composed.

    Raises:
        ConfigError: a node is missing or empty, a strategy has no stage, two budgets are set, or keys exclude each
            other.
    """
    _check_nodes(config)
    _check_trainer(config.trainer)
    _check_budget(config.budget)
    _check_labels(config)
    _check_modalities("encoder_lr", config.encoder_lr or (), config)
    _check_modalities("strategy.adapt_modalities", config.strategy.adapt_modalities or (), config)
    if config.strategy.adapt_modalities is not None and config.strategy.adapt is None:
        raise ConfigError("strategy.adapt_modalities: the strategy has no adapter; add strategy.adapt=lora, or drop it")
    if config.head.init is not None and config.head.prompt is not None:
        raise ConfigError("head: both init and prompt are set; drop one of them")
    if config.trainer.fsdp:
        _check_fsdp(config)


def _check_nodes(config: RunConfig) -> None:
    required = {"dataset": config.dataset, "fusion": config.fusion, "optimizer": config.optimizer}
    required |= {f"encoder.{modality}": node for modality, node in config.encoder.items()}
    for modality, node in config.encoder.items():
        preprocess = node.get("preprocess") if isinstance(node, Mapping) else node
        required[f"encoder.{modality}.preprocess"] = preprocess
    optional = {"balance": config.balance, "augment": config.augment}
    optional |= {"strategy.adapt": config.strategy.adapt, "strategy.head": config.strategy.head}
    optional |= {f"callbacks.{name}": node for name, node in config.callbacks.items()}
    required |= {f"tasks.{name}": node for name, node in config.tasks.items()}
    if not config.encoder:
        raise ConfigError("modalities: a run needs at least one")
    if not config.strategy.stages:
        raise ConfigError("strategy.stages: a strategy needs at least one stage")
    for name, stage in config.strategy.stages.items():
        key_path = f"strategy.stages.{name}"
        required[f"{key_path}.objective"] = stage.objective
        optional[f"{key_path}.optimizer"] = stage.optimizer
    for key_path, node in required.items():
        require_node(node, key_path)
    for key_path, node in optional.items():
        if node is not None:
            require_node(node, key_path)
    for name, stage in config.strategy.stages.items():
        _check_stage(stage, f"strategy.stages.{name}", config)


def require_node(node: object, key_path: str) -> None:
    """Reject what is not a node.

    Args:
        node: a value from a config.
        key_path: where it stands.

    Raises:
        ConfigError: it is missing, or has no `_target_`.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        verb = "is not set" if node is None else f"{format_value(node)} has no _target_"
        raise ConfigError(f"{key_path}: {verb}; choose one with {key_path}=NAME (`mmrun options` lists them)")


def _check_trainer(trainer: TrainerConfig) -> None:
    if trainer.group_by_length and trainer.compile is not False:
        raise ConfigError(
            "trainer: group_by_length cannot be combined with compile, which needs texts of one width; drop one of them"
        )


def _check_budget(budget: BudgetConfig) -> None:
    keys = [key for key, value in vars(budget).items() if value is not None]
    if len(keys) > 1:
        first, *others = keys
        raise ConfigError(
            f"budget: both {first} and {' and '.join(others)} are set; add budget.{first}=null to drop one"
        )


def _check_modalities(key_path: str, modalities: Iterable[str], config: RunConfig) -> None:
    """Reject modalities that the run does not read."""
    for modality in modalities:
        if modality not in config.encoder:
            raise ConfigError(
                f"{key_path}: the run reads no '{modality}'{nearest(modality, config.encoder)} (it reads "
                f"{', '.join(config.encoder)})"
            )


def _check_labels(config: RunConfig) -> None:
    labelled = convert(config.dataset.get("labelled"), PositiveShare, "dataset.labelled")
    shots = convert(config.dataset.get("shots"), PositiveInt | None, "dataset.shots")
    if shots is not None and labelled < 1:
        raise ConfigError("dataset: both labelled and shots are set; add dataset.labelled=1 to drop one")


def _check_stage(stage: StageConfig, key_path: str, config: RunConfig) -> None:
    if not stage.train:
        raise ConfigError(
            f"{key_path}.train: names no parameters; list those to train, for example [encoder, fusion, head]"
        )
    if stage.monitor.startswith(("test/", "train/")):
        raise ConfigError(
            f"{key_path}.monitor: {stage.monitor} cannot select weights: validation rows do, so that test rows stay "
            f"unseen; use {stage.monitor.partition('/')[2]}"
        )
    if stage.interpolate is not None and stage.ema_decay is not None:
        raise ConfigError(f"{key_path}: interpolate cannot be combined with ema_decay; drop one of them")
    batch_size = config.trainer.batch_size
    if batch_size != "auto" and stage.grad_accum_steps > batch_size:
        raise ConfigError(
            f"{key_path}.grad_accum_steps: {stage.grad_accum_steps} micro-batches cannot divide the {batch_size} rows "
            "of trainer.batch_size"
        )
    optimizer_path = "optimizer" if stage.optimizer is None else f"{key_path}.optimizer"
    optimizer = config.optimizer if stage.optimizer is None else stage.optimizer
    for name, annotation in OPTIMIZER_ARGUMENTS.items():
        if name in optimizer:
            convert(optimizer[name], annotation, f"{optimizer_path}.{name}")
    if "lr" not in optimizer and stage.lr is None:
        raise ConfigError(f"{optimizer_path}.lr: is not set; add ++{optimizer_path}.lr=0.001")


def _check_fsdp(config: RunConfig) -> None:
    """Reject features that read or move whole parameters or gradients, and those not tested with sharded ones."""
    trainer = config.trainer
    unsupported = {
        "trainer.precision=fp16": trainer.precision == "fp16",
        "trainer.batch_size=auto": trainer.batch_size == "auto",
        "trainer.compile": trainer.compile is not False,
        "trainer.channels_last=true": trainer.channels_last is True,
        "trainer.log_modality_gradients": trainer.log_modality_gradients,
        "balance": config.balance is not None,
    }
    for name, stage in config.strategy.stages.items():
        unsupported[f"strategy.stages.{name}.ema_decay"] = stage.ema_decay is not None
        unsupported[f"strategy.stages.{name}.interpolate"] = stage.interpolate is not None
    for key, is_set in unsupported.items():
        if is_set:
            raise ConfigError(f"trainer.fsdp: cannot be combined with {key}; drop one of them")
