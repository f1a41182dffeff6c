"""The defaults of runs with pretrained encoders or fusions: low learning rates of these, and a longer warm-up.

At the rate that suits random weights, pretrained ones are forgotten within an epoch. A recipe fills keys of the config
that the user did not type, so that config.yaml shows what a run was trained with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase

from mmrun.config import Node, RunConfig, StageConfig, StrategyConfig

TRANSFORMER_LR, CNN_LR = 2e-5, 1e-4
WARMUP = 0.1  # share of a stage
USUAL_WARMUP = next(key.default for key in fields(StageConfig) if key.name == "warmup")
OPTIMIZERS = ("torch.optim.Adam", "torch.optim.AdamW")  # the rates are made for these
TRANSFORMERS = "mmrun.models.encoders.hf"  # the beginning of the modules of encoders of transformers
PRETRAINED_FUSION = "mmrun.models.fusions.flava.Flava"
FUSION_WEIGHTS = "fusion.net"  # where it keeps them
TIMM_TRANSFORMERS = (
    "beit",
    "cait",
    "deit",
    "eva",
    "maxvit",
    "mvit",
    "pvt",
    "swin",
    "vit",
    "xcit",
)  # in names of models


def apply_recipe(config: RunConfig, overrides: Iterable[str]) -> None:
    """Set the learning rates of pretrained encoders and fusions and the warm-up of all stages, unless the user did.

    Adapters learn at the rate of the optimizer: they are not pretrained.

    Args:
        config: composed; changed in place.
        overrides: as typed.
    """
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    rates = {}
    for modality, node in config.encoder.items():
        rate = _choose_lr(node) if isinstance(node, Mapping) else None
        if rate is not None and not is_adapted(config.strategy, modality):
            rates[modality] = rate
    optimizer = config.optimizer.get("_target_") if isinstance(config.optimizer, Mapping) else None
    if not rates or optimizer not in OPTIMIZERS:
        return
    if "encoder_lr" not in keys:
        config.encoder_lr = {**rates, **(config.encoder_lr or {})}
    if has_pretrained_fusion(config) and not any(".lr_scale" in key for key in keys):
        _slow_fusion(config)
    if not any(key.endswith(".warmup") for key in keys):
        for stage in config.strategy.stages.values():
            stage.warmup = WARMUP if stage.warmup == USUAL_WARMUP else stage.warmup


def is_adapted(strategy: StrategyConfig, modality: str) -> bool:
    """Return whether an encoder gets an adapter.

    Args:
        strategy: of the run.
        modality: that the encoder reads.
    """
    adapted = strategy.adapt_modalities
    return strategy.adapt is not None and (adapted is None or modality in adapted)


def starts_at_random(config: RunConfig, modality: str) -> bool:
    """Return whether an encoder starts from random weights.

    Args:
        config: of a run.
        modality: that the encoder reads.
    """
    node = config.encoder[modality]
    assert node is not None
    return config.init is None and node.get("init") is None and _choose_lr(node) is None


def has_pretrained_fusion(config: RunConfig) -> bool:
    """Return whether the fusion starts from the weights of a pretrained model.

    Args:
        config: of a run.
    """
    fusion = config.fusion
    return isinstance(fusion, Mapping) and fusion.get("_target_") == PRETRAINED_FUSION and bool(fusion["pretrained"])


def _slow_fusion(config: RunConfig) -> None:
    """Let the pretrained weights of the fusion learn at the rate of transformers, where a stage trains them."""
    for stage in config.strategy.stages.values():
        if "fusion" in stage.train:
            lr = stage.lr or (stage.optimizer or config.optimizer)["lr"]
            stage.lr_scale = {FUSION_WEIGHTS: TRANSFORMER_LR / lr, **stage.lr_scale}


def _choose_lr(node: Node) -> float | None:
    """Return the usual learning rate of an encoder with pretrained weights, or None for one without."""
    if isinstance(node.get("frame"), Mapping):  # the image encoder inside that of a video
        return _choose_lr(node["frame"])
    is_hf = str(node.get("_target_")).startswith(TRANSFORMERS)
    if "model" not in node or node.get("pretrained", True) in (False, None):
        return None
    is_transformer = is_hf or any(name in str(node["model"]) for name in TIMM_TRANSFORMERS)
    return TRANSFORMER_LR if is_transformer else CNN_LR


def describe_recipe(config: RunConfig) -> list[str]:
    """Describe in a line each what a pretrained model changes in a run.

    Args:
        config: of a run.
    """
    notes = []
    if config.model and config.choices.get("strategy") in ("holistic", "holistic_top"):
        notes.append(
            f"model={config.choices.get('model', config.model['family'])} takes the place of the pre-training stage; "
            "strategy=holistic_pretrain keeps it"
        )
    trained = {name: rate for name, rate in (config.encoder_lr or {}).items() if _is_trained(config, name)}
    if trained:
        rates = ", ".join(f"{modality} at {rate:g}" for modality, rate in trained.items())
        if any(FUSION_WEIGHTS in stage.lr_scale for stage in config.strategy.stages.values()):
            rates += f", the fusion at {TRANSFORMER_LR:g}"
        warmups = sorted({stage.warmup for stage in config.strategy.stages.values()})
        shares = " and ".join(f"{warmup:.0%}" for warmup in warmups)
        notes.append(
            f"pretrained encoders learn slower ({rates}; the rest at {config.optimizer['lr']:g}), warm-up is {shares}; "
            "encoder_lr.MODALITY and strategy.stages.STAGE.warmup change it"
        )
    return notes


def _is_trained(config: RunConfig, modality: str) -> bool:
    """Return whether a stage trains an encoder, or a part of it."""
    encoder = f"encoder.{modality}"
    globs = [glob for stage in config.strategy.stages.values() for glob in stage.train]
    return any(
        fnmatchcase(encoder, glob) or f"{glob}.".startswith(f"{encoder}.") or glob == "encoder" for glob in globs
    )
