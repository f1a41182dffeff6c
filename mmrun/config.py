"""Every key that YAML may say. A *node* is a mapping with a `_target_`: what `compose.make` turns into an object."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrun.errors import ConfigError


def config_dir() -> Path:
    """Find the shipped YAML files: the repository's while mmrun is developed, else those inside the wheel."""
    package = Path(__file__).resolve().parent
    repository = package.parent / "configs"
    return repository if (repository / "train.yaml").is_file() else package / "configs"


@dataclass
class BudgetConfig:
    """What all stages of a run may spend together. At most one is set; none means 10 epochs.

    A stage that reads k of the M modalities spends k/M for each row and step, so that one epoch is: every modality of
    every training row read once.
    """

    epochs: float | None = None  # passes over the training rows
    steps: int | None = None  # optimiser steps
    samples: int | None = None  # rows
    flops: float | None = None  # forward and backward, counted on the first batch of a stage
    seconds: float | None = None  # of training, evaluation not counted


@dataclass
class StageConfig:
    """One stage of a strategy: an objective, what learns, on which rows, for which share of the budget."""

    objective: Any = None  # node
    train: list[str] = field(default_factory=list)  # globs over parameter names; {modality} stands for the copy's
    unfreeze_top: float | None = (
        None  # share of each encoder's modules that learn, from its output down; None: all named
    )
    for_each: str | None = None  # "modality": one copy of the stage per modality, each with its part of the share
    rows: str = "labelled"  # labelled | all | unlabelled | bootstrap: as many labelled ones, drawn with replacement
    share: float = 1.0  # of the budget; the shares of a strategy are divided by their sum
    optimizer: Any = None  # node; None: the run's
    lr: float | None = None  # None: the optimiser's
    lr_scale: dict[str, float] = field(default_factory=dict)  # glob -> factor on lr; the last match counts
    layer_decay: float | None = None  # factor on the lr of an encoder's first module; it grows evenly to 1 at the last
    schedule: str = "cosine"  # cosine | linear | constant
    warmup: float = 0.05  # of the stage
    max_grad_norm: float | None = None  # largest gradient norm
    grad_accum_steps: int = 1  # micro-batches that a batch is cut into
    keep: str = "best"  # best | last: which weights the next stage gets
    ema_decay: float | None = None  # decay, a step, of a moving average of the weights, which then is what counts
    monitor: str = "loss"  # what "best" is measured by on the validation rows: the objective's loss, or a metric
    patience: int | None = None  # evaluations without a better one before the stage ends; None: no early stopping
    reuse: bool = False  # store the result, and load it where everything that determines it is the same


@dataclass
class StrategyConfig:
    """Named stages, in order."""

    stages: dict[str, StageConfig] = field(default_factory=dict)
    adapt: Any = None  # node of models.adapters; None: encoders as they are


@dataclass
class TrainerConfig:
    """How the engine runs: nothing here names a method."""

    batch_size: Any = 64  # rows of an optimiser step, over all devices; auto: as many as memory holds
    eval_batch_size: int = 256
    precision: str = "fp32"  # fp32 | bf16 | fp16
    device: str = "auto"  # auto | cpu
    compile: Any = False  # true | false | auto: on a GPU | reduce-overhead: with CUDA graphs | max-autotune
    channels_last: Any = "auto"  # images and their convolutions by pixel: true | false | auto: on a GPU
    tf32: bool = True  # on a GPU, let fp32 products be rounded to TF32's 10 bits
    deterministic: bool = True  # on a GPU, kernels that give the same bits each time, before quicker ones
    offload_activations: bool = False  # keep what the backward pass needs in the CPU's memory
    group_by_length: bool = False  # texts of like length share batches, cropped to the longest; compile wants one width
    fsdp: bool = False  # under torchrun, cut each parameter over the devices: for encoders larger than one
    evaluate_every: float = 1.0  # epochs
    cache_features: bool = True  # compute what a frozen encoder gives once for each row, and train on that
    save_every: float = 60.0  # seconds between checkpoints; a stage's end is always saved
    log_modality_gradients: bool = False  # log, at each evaluation, how the modalities share in learning
    profile: bool = False  # look at a few steps of each stage: a trace, and where the time goes
    trackers: list[str] = field(default_factory=list)  # of accelerate: tensorboard, wandb, ...
    progress: bool = True  # a live bar, on a terminal


@dataclass
class RunConfig:
    """One run, resolved. What stands in a run folder's config.yaml."""

    dataset: dict[str, Any] = field(default_factory=dict)  # node of a source, plus LABELS
    modalities: list[str] | None = None  # None: all that the data set names
    encoder: dict[str, Any] = field(
        default_factory=dict
    )  # node by modality, with a `preprocess` node, and `init` if any
    fusion: Any = None  # node
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    balance: Any = None  # node of objectives.balance; None: gradients as they are
    augment: Any = None  # node of objectives.augment; None: inputs as they are
    optimizer: Any = None  # node
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0
    experiment: str = "default"  # the folder under outputs: the name of the chosen experiment
    outputs: str = "outputs"
    cache: str = "~/.cache/mmrun"  # preprocessed columns, reused stages, features
    cache_limit: float = 50.0  # GB a modality; a larger one is decoded anew for each batch
    choices: dict[str, str] = field(default_factory=dict)  # which YAML was chosen: strategy -> component ...


LABELS = ("labelled", "shots")  # keys of every data set: which training rows' targets are seen

ONE_OF = {
    "rows": ("labelled", "all", "unlabelled", "bootstrap"),
    "for_each": (None, "modality"),
    "schedule": ("cosine", "linear", "constant"),
    "keep": ("best", "last"),
    "precision": ("fp32", "bf16", "fp16"),
    "device": ("auto", "cpu"),
    "compile": (False, True, "auto", "reduce-overhead", "max-autotune"),
    "channels_last": ("auto", False, True),
}


def check(config: RunConfig) -> None:
    """Refuse what the types let through: values outside their range, a strategy without stages, two budgets."""
    _one_of(config.trainer, "trainer")
    if config.trainer.batch_size != "auto":
        if not isinstance(config.trainer.batch_size, int):
            raise ConfigError(f"trainer.batch_size: {config.trainer.batch_size!r} is neither a number of rows nor auto")
        _positive(config.trainer, "trainer", "batch_size")
    _positive(config.trainer, "trainer", "eval_batch_size", "evaluate_every")
    if config.trainer.group_by_length and config.trainer.compile is not False:
        raise ConfigError(
            "trainer: group_by_length gives texts of many widths, and compile wants one; drop one of the two"
        )
    if config.trainer.fsdp:
        _shardable(config)
    for key, value in vars(config.budget).items():
        if value is not None and value <= 0:
            raise ConfigError(f"budget.{key}: {value} is not above 0")
    budgets = [key for key, value in vars(config.budget).items() if value is not None]
    if len(budgets) > 1:
        one, *rest = budgets
        raise ConfigError(f"budget: both {one} and {' and '.join(rest)} are set; add budget.{one}=null to drop one")
    _labels(config.dataset["labelled"], config.dataset["shots"])
    if not config.strategy.stages:
        raise ConfigError("strategy.stages: a strategy needs at least one stage")
    for name, stage in config.strategy.stages.items():
        key_path = f"strategy.stages.{name}"
        _one_of(stage, key_path)
        _positive(stage, key_path, "share", "grad_accum_steps")
        for key in ("unfreeze_top", "layer_decay"):
            share = getattr(stage, key)
            if share is not None and not 0 < share <= 1:
                raise ConfigError(f"{key_path}.{key}: {share} is not a share above 0 and up to 1")
        if stage.ema_decay is not None and not 0 < stage.ema_decay < 1:
            raise ConfigError(f"{key_path}.ema_decay: {stage.ema_decay} is not a decay between 0 and 1; 0.99 is usual")
        for key in ("objective", "optimizer"):
            value = getattr(stage, key)
            if not isinstance(value, dict) and not (key == "optimizer" and value is None):
                raise ConfigError(f"{key_path}.{key}: {value!r} is no node; choose one with {key_path}.{key}=NAME")
        if not stage.train:
            raise ConfigError(
                f"{key_path}.train: names no parameters; say which learn, for example [encoder, fusion, head]"
            )


def _labels(labelled: float, shots: int | None) -> None:
    if not 0 < labelled <= 1:
        raise ConfigError(f"dataset.labelled: {labelled} is not a share above 0 and up to 1")
    if shots is not None and (not isinstance(shots, int) or shots < 1):
        raise ConfigError(f"dataset.shots: {shots} is not a number of rows above 0")
    if shots is not None and labelled < 1:
        raise ConfigError("dataset: both labelled and shots are set; add dataset.labelled=1 to drop one")


def _shardable(config: RunConfig) -> None:
    """Refuse what reads or moves whole parameters or gradients, and what was never tried on shares of them."""
    trainer = config.trainer
    asked = {
        "trainer.precision=fp16": trainer.precision == "fp16",
        "trainer.batch_size=auto": trainer.batch_size == "auto",
        "trainer.compile": trainer.compile is not False,
        "trainer.channels_last=true": trainer.channels_last is True,
        "trainer.log_modality_gradients": trainer.log_modality_gradients,
        "balance": config.balance is not None,
        **{
            f"strategy.stages.{n}.ema_decay": stage.ema_decay is not None for n, stage in config.strategy.stages.items()
        },
    }
    for key, there in asked.items():
        if there:
            raise ConfigError(f"trainer.fsdp: goes not with {key}; drop one of the two")


def _one_of(part: Any, key_path: str) -> None:
    for key, known in ONE_OF.items():
        value = getattr(part, key, known[0])
        if value not in known:
            names = ", ".join(str(item).lower() for item in known if item is not None)
            raise ConfigError(f"{key_path}.{key}: {value!r} is not one of {names}")


def _positive(part: Any, key_path: str, *keys: str) -> None:
    for key in keys:
        if getattr(part, key) <= 0:
            raise ConfigError(f"{key_path}.{key}: {getattr(part, key)} is not above 0")
