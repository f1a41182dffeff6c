"""Every key of a config. A *node* is a mapping with a `_target_`, which `mmrun.instantiate` turns into an object."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmrun.errors import ConfigError

Node = Any  # a mapping with a `_target_`; OmegaConf does not check it, `instantiate` does
Setting = Any  # a value of one of several types; `check` checks it
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
    result["strategy"] = {**values["strategy"], "stages": stages}
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
    """What all stages of a run may spend together. At most one key is set; none means 10 epochs.

    A stage that reads k of the M modalities spends k/M for each row and step: in one epoch, every modality of every
    training row is read once.
    """

    epochs: float | None = None  # passes over the training rows
    steps: int | None = None  # optimizer steps
    samples: int | None = None  # rows
    flops: float | None = None  # forward and backward, counted on the first batch of a stage
    seconds: float | None = None  # of training; evaluation is not counted


@dataclass
class StageConfig:
    """One stage of a strategy: an objective, what it trains, on which rows, for which share of the budget."""

    objective: Node = None
    train: list[str] = field(default_factory=list)  # globs over parameter names; for_each replaces {modality}
    unfreeze_top: float | None = None  # share of each encoder's modules to train, counted from its output; None: all
    for_each: str | None = None  # "modality": one copy of the stage per modality; the copies divide the share
    rows: str = "labelled"  # labelled | all | unlabelled | bootstrap: labelled rows drawn with replacement
    share: float = 1.0  # of the budget; the shares of a strategy are divided by their sum
    optimizer: Node = None  # None: that of the run
    lr: float | None = None  # None: that of the optimizer
    lr_scale: dict[str, float] = field(default_factory=dict)  # glob -> factor on lr; the last match counts
    layer_decay: float | None = None  # factor on lr from one encoder layer to the next, from the output down (timm's)
    schedule: str = "cosine"  # cosine | linear | constant
    warmup: float = 0.05  # share of the stage
    max_grad_norm: float | None = None  # gradients are clipped to this norm
    grad_accum_steps: int = 1  # micro-batches per batch
    keep: str = "best"  # best | last: which weights the next stage gets
    ema_decay: float | None = None  # per step; the result of the stage is then the moving average of its weights
    monitor: str = "loss"  # selects the best weights on validation rows: loss, primary_metric, or a metric's name
    patience: int | None = None  # evaluations without improvement before the stage ends; None: no early stopping
    reuse: bool = changes(NOTHING, False)  # store the result, and load it if everything that determines it is equal


@dataclass
class StrategyConfig:
    """Named stages, in order."""

    stages: dict[str, StageConfig] = field(default_factory=dict)
    adapt: Node = None  # one of models.adapters; None: encoders without adapters


@dataclass
class TrainerConfig:
    """How training runs, whatever the method."""

    batch_size: Setting = 64  # rows of an optimizer step, over all devices; auto: as many as fit into memory
    eval_batch_size: int = changes(FORWARD, 256)
    precision: str = changes(FORWARD, "fp32")  # fp32 | bf16 | fp16
    device: str = "auto"  # auto | cpu
    compile: Setting = False  # true | false | auto: on a GPU | reduce-overhead: with CUDA graphs | max-autotune
    channels_last: Setting = changes(FORWARD, "auto")  # memory layout of images: true | false | auto: on a GPU
    tf32: bool = changes(FORWARD, True)  # on a GPU, round fp32 products to TF32's 10 bits
    deterministic: bool = changes(FORWARD, True)  # on a GPU, prefer kernels that return the same bits each time
    offload_activations: bool = False  # keep the activations for the backward pass in CPU memory
    group_by_length: bool = False  # texts of similar length share batches, cropped to the longest
    fsdp: bool = changes(NOTHING, False)  # under torchrun, shard parameters over the devices
    evaluate_every: float = 1.0  # epochs
    on_nan: str = changes(TRAINING, "stop", later=True)  # stop | skip | rollback, where a training loss is not finite
    cache_features: bool = True  # compute the output of a frozen encoder once per row, and train on that
    save_every: float = changes(NOTHING, 60.0)  # seconds between checkpoints; the end of a stage is always saved
    log_modality_gradients: bool = changes(NOTHING, False)  # at each evaluation: gradient shares and conflicts
    profile: bool = changes(NOTHING, False)  # profile a few steps of each stage
    progress: bool = changes(NOTHING, True)  # a live progress bar, on a terminal


@dataclass
class RunConfig:
    """The resolved config of one run, as stored in config.yaml of its run folder."""

    dataset: dict[str, Any] = field(default_factory=dict)  # node of a source, plus LABELS
    modalities: list[str] | None = None  # None: all of the data set
    encoder: dict[str, Node] = field(default_factory=dict)  # node by modality; it has a `preprocess` node, maybe `init`
    fusion: Node = None
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    balance: Node = None  # one of objectives.balance; None: gradients are not changed
    augment: Node = None  # one of objectives.augment; None: inputs are not changed
    callbacks: dict[str, Node] = field(default_factory=dict)  # node by name
    optimizer: Node = None
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0
    experiment: str = changes(NOTHING, "default")  # folder below outputs: the name of the chosen experiment
    outputs: str = changes(NOTHING, "outputs")
    cache: str = changes(NOTHING, "~/.cache/mmrun")  # decoded columns, reused stages, features
    cache_limit: float = changes(NOTHING, 50.0)  # GB per modality; larger ones are decoded for each batch
    choices: dict[str, str] = changes(NOTHING, default_factory=dict)  # the YAML file chosen: strategy -> component


# Top-level keys that do not change the result
WITHOUT_EFFECT = tuple(key.name for key in fields(RunConfig) if key.metadata.get("changes", TRAINING) == NOTHING)

OBSERVERS = ("mmrun.run.callbacks.Tracker",)  # callbacks that do not change the result

LABELS = ("labelled", "shots")  # keys of every data set: which training rows' targets are used

ONE_OF = {
    "rows": ("labelled", "all", "unlabelled", "bootstrap"),
    "for_each": (None, "modality"),
    "schedule": ("cosine", "linear", "constant"),
    "keep": ("best", "last"),
    "on_nan": ("stop", "skip", "rollback"),
    "precision": ("fp32", "bf16", "fp16"),
    "device": ("auto", "cpu"),
    "compile": (False, True, "auto", "reduce-overhead", "max-autotune"),
    "channels_last": ("auto", False, True),
}


def check(config: RunConfig) -> None:
    """Reject values that the types allow but that no run can use.

    Args:
        config: of a run, composed.

    Raises:
        ConfigError: a value is out of range, a strategy has no stage, two budgets are set, or keys exclude each other.
    """
    _check_trainer(config)
    _check_budget(config.budget)
    _check_labels(config.dataset["labelled"], config.dataset["shots"])
    if not config.strategy.stages:
        raise ConfigError("strategy.stages: a strategy needs at least one stage")
    for name, stage in config.strategy.stages.items():
        _check_stage(stage, f"strategy.stages.{name}")


def _check_trainer(config: RunConfig) -> None:
    trainer = config.trainer
    _check_choices(trainer, "trainer")
    if trainer.batch_size != "auto":
        if not isinstance(trainer.batch_size, int):
            raise ConfigError(f"trainer.batch_size: {trainer.batch_size!r} is neither a number of rows nor auto")
        _check_positive(trainer, "trainer", "batch_size")
    _check_positive(trainer, "trainer", "eval_batch_size", "evaluate_every")
    if trainer.group_by_length and trainer.compile is not False:
        raise ConfigError(
            "trainer: group_by_length cannot be combined with compile, which needs texts of one width; drop one of them"
        )
    if trainer.fsdp:
        _check_fsdp(config)


def _check_budget(budget: BudgetConfig) -> None:
    for key, value in vars(budget).items():
        if value is not None and value <= 0:
            raise ConfigError(f"budget.{key}: {value} is not above 0")
    keys = [key for key, value in vars(budget).items() if value is not None]
    if len(keys) > 1:
        first, *others = keys
        raise ConfigError(
            f"budget: both {first} and {' and '.join(others)} are set; add budget.{first}=null to drop one"
        )


def _check_labels(labelled: float, shots: int | None) -> None:
    if not 0 < labelled <= 1:
        raise ConfigError(f"dataset.labelled: {labelled} is not a share above 0 and up to 1")
    if shots is not None and (not isinstance(shots, int) or shots < 1):
        raise ConfigError(f"dataset.shots: {shots} is not a number of rows above 0")
    if shots is not None and labelled < 1:
        raise ConfigError("dataset: both labelled and shots are set; add dataset.labelled=1 to drop one")


def _check_stage(stage: StageConfig, key_path: str) -> None:
    _check_choices(stage, key_path)
    _check_positive(stage, key_path, "share", "grad_accum_steps")
    for key in ("unfreeze_top", "layer_decay"):
        share = getattr(stage, key)
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"{key_path}.{key}: {share} is not a share above 0 and up to 1")
    if stage.ema_decay is not None and not 0 < stage.ema_decay < 1:
        raise ConfigError(f"{key_path}.ema_decay: {stage.ema_decay} is not a decay between 0 and 1; 0.99 is usual")
    for key in ("objective", "optimizer"):
        value = getattr(stage, key)
        if not isinstance(value, dict) and not (key == "optimizer" and value is None):
            raise ConfigError(f"{key_path}.{key}: {value!r} is not a node; choose one with {key_path}.{key}=NAME")
    if not stage.train:
        raise ConfigError(
            f"{key_path}.train: names no parameters; list those to train, for example [encoder, fusion, head]"
        )


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
    for key, is_set in unsupported.items():
        if is_set:
            raise ConfigError(f"trainer.fsdp: cannot be combined with {key}; drop one of them")


def _check_choices(part: TrainerConfig | StageConfig, key_path: str) -> None:
    for key, choices in ONE_OF.items():
        value = getattr(part, key, choices[0])
        if value not in choices:
            names = ", ".join(str(choice).lower() for choice in choices if choice is not None)
            raise ConfigError(f"{key_path}.{key}: {value!r} is not one of {names}")


def _check_positive(part: TrainerConfig | StageConfig, key_path: str, *keys: str) -> None:
    for key in keys:
        if getattr(part, key) <= 0:
            raise ConfigError(f"{key_path}.{key}: {getattr(part, key)} is not above 0")
