"""What a stage means: the copies it stands for, the parameters that learn in it, its part of the budget."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from mmrun.config import StageConfig, StrategyConfig
from mmrun.errors import ConfigError


@dataclass(frozen=True)
class Stage:
    """One stage as the engine runs it."""

    name: str  # pretrain, or pretrain-image for a copy
    key_path: str  # the YAML key that made it, for errors
    config: StageConfig
    modalities: tuple[str, ...]  # that its objective reads
    share: float  # of the whole budget; all stages of a strategy sum to 1
    reads: float  # share of the run's modalities that a row of this stage passes through


def expand_stages(strategy: StrategyConfig, modalities: Iterable[str]) -> list[Stage]:
    """Give the stages in order, a `for_each: modality` stage as one copy per modality."""
    every = tuple(modalities)
    total = sum(stage.share for stage in strategy.stages.values())
    stages = []
    for name, config in strategy.stages.items():
        where, share = f"strategy.stages.{name}", config.share / total
        if config.for_each is None:
            stages.append(Stage(name, where, config, every, share, 1.0))
            continue
        for modality in every:
            train = [glob.replace("{modality}", modality) for glob in config.train]
            copy = replace(config, train=train)
            stages.append(Stage(f"{name}-{modality}", where, copy, (modality,), share / len(every), 1 / len(every)))
    return stages


def matches(name: str, glob: str) -> bool:
    """Tell whether a glob names a parameter: `encoder.image` stands for all that lies below it, `*` for anything."""
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*")


def trainable_parameters(names: Iterable[str], stage: Stage, fixed: Iterable[str] = ()) -> set[str]:
    """Give the names of the parameters that learn; a glob that names none is an error.

    `fixed` are parts of the model without parameters, which may be named, but not alone.
    """
    known = list(names)
    learning: set[str] = set()
    for glob in stage.config.train:
        hits = {name for name in known if matches(name, glob)}
        if not hits and not any(matches(part, glob) for part in fixed):
            raise ConfigError(f"{stage.key_path}.train: '{glob}' names no parameter (the model has {outline(known)})")
        learning |= hits
    if stage.config.unfreeze_top is not None:
        learning = {
            name for name, level in levels(known).items() if name in learning and level > 1 - stage.config.unfreeze_top
        }
    if not learning:
        named = ", ".join(stage.config.train)
        raise ConfigError(
            f"{stage.key_path}.train: {named} has no parameters, so nothing learns; choose another encoder"
        )
    for glob in stage.config.lr_scale:
        if not any(matches(name, glob) for name in learning):
            raise ConfigError(f"{stage.key_path}.lr_scale: '{glob}' names no parameter that learns in this stage")
    return learning


def levels(names: Iterable[str]) -> dict[str, float]:
    """Tell how high in its encoder each parameter lies, above 0 and up to 1 at the output; all others are at 1.

    It goes by the order in which an encoder's modules were built, which is that of its layers in timm, transformers and
    here.
    """
    level: dict[str, float] = {}
    modules: dict[str, list[str]] = {}  # by encoder, first to last
    for name in names:
        owner, module = ".".join(name.split(".")[:2]), name.rpartition(".")[0]
        inside = modules.setdefault(owner, [])
        if module not in inside:
            inside.append(module)
        level[name] = float(inside.index(module) + 1)
    return {
        name: place / len(modules[".".join(name.split(".")[:2])]) if name.startswith("encoder.") else 1.0
        for name, place in level.items()
    }


def outline(names: Iterable[str]) -> str:
    """Give the first two levels of parameter names, for an error: encoder.image, encoder.text, fusion.project ..."""
    heads = {".".join(name.split(".")[:2]) for name in names}
    return ", ".join(sorted(heads))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    lr_scale: Mapping[str, float],
    lr: float,
    layer_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Give one optimiser group per scale of the learning rate; `base_lr` is what the schedule multiplies."""
    groups: dict[float, list[nn.Parameter]] = {}
    every = list(named)
    level = levels(name for name, _ in every)
    for name, parameter in every:
        scale = 1.0
        for glob, factor in lr_scale.items():
            if matches(name, glob):
                scale = factor
        if layer_decay is not None:
            scale *= layer_decay ** (1 - level[name])
        groups.setdefault(scale, []).append(parameter)
    return [{"params": params, "lr": lr * scale, "base_lr": lr * scale} for scale, params in groups.items()]
