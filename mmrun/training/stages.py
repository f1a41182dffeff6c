"""What a stage is: the copies it stands for, the parameters it trains, its share of the budget."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from mmrun.config import StageConfig, StrategyConfig
from mmrun.errors import ConfigError
from mmrun.head import FUSED, Head, sort_heads


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: pretrain, or pretrain-image for one modality's copy.
        key_path: the YAML key that defines it, for error messages.
        config: its keys.
        modalities: those that its objective reads.
        share: of the whole budget; the shares of a strategy sum to 1.
        reads: share of the run's modalities that a row of this stage passes through.
        trainable: names of the model's parameters that it trains; empty until the model is built.
    """

    name: str
    key_path: str
    config: StageConfig
    modalities: tuple[str, ...]
    share: float
    reads: float
    trainable: frozenset[str] = frozenset()

    @property
    def trained_encoders(self) -> frozenset[str]:
        """The modalities whose encoders it trains."""
        return frozenset(name.split(".")[1] for name in self.trainable if name.startswith("encoder."))

    @property
    def trains_head(self) -> bool:
        """Whether it trains a head on the fused vector."""
        return any(name.startswith("head.") for name in self.trainable)

    @property
    def trained_probes(self) -> frozenset[str]:
        """The modalities whose probes it trains."""
        return frozenset(name.split(".")[1] for name in self.trainable if name.startswith("probe."))

    @property
    def heads(self) -> list[Head]:
        """The heads that it trains."""
        fused = {FUSED} if self.trains_head else set()
        return sort_heads(fused | {Head(modality) for modality in self.trained_probes})


def expand_stages(strategy: StrategyConfig, modalities: Iterable[str]) -> list[Stage]:
    """Return the stages in order; a stage with `for_each: modality` becomes one copy per modality.

    Args:
        strategy: stages in the order in which they train.
        modalities: that the run reads.

    Returns:
        The stages; their shares sum to 1.
    """
    all_modalities = tuple(modalities)
    total = sum(stage.share for stage in strategy.stages.values())
    stages = []
    for name, config in strategy.stages.items():
        key_path, share = f"strategy.stages.{name}", config.share / total
        if config.for_each is None:
            stages.append(Stage(name, key_path, config, all_modalities, share, 1.0))
            continue
        for modality in all_modalities:
            train = [glob.replace("{modality}", modality) for glob in config.train]
            copy = replace(config, train=train)
            part = 1 / len(all_modalities)
            stages.append(Stage(f"{name}-{modality}", key_path, copy, (modality,), share / len(all_modalities), part))
    return stages


def matches(name: str, glob: str) -> bool:
    """Return whether a glob covers a parameter: `encoder.image` covers all below it, `*` matches anything.

    Args:
        name: of a parameter or a part.
        glob: as in `train` and `lr_scale`.
    """
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*")


def trainable_parameters(names: Iterable[str], stage: Stage, without_parameters: Iterable[str] = ()) -> frozenset[str]:
    """Return the names of the parameters that a stage trains.

    Args:
        names: all parameters of the model, in the order of its modules.
        stage: its globs and `unfreeze_top` decide.
        without_parameters: parts of the model that have none; globs may name them, but not alone.

    Raises:
        ConfigError: a glob covers no parameter, or nothing is left to train.
    """
    known = list(names)
    trainable: set[str] = set()
    for glob in stage.config.train:
        covered = {name for name in known if matches(name, glob)}
        if not covered and not any(matches(part, glob) for part in without_parameters):
            raise ConfigError(f"{stage.key_path}.train: '{glob}' matches no parameter (the model has {outline(known)})")
        trainable |= covered
    if stage.config.unfreeze_top is not None:
        lowest = 1 - stage.config.unfreeze_top
        trainable = {name for name, height in relative_heights(known).items() if name in trainable and height > lowest}
    if not trainable:
        globs = ", ".join(stage.config.train)
        raise ConfigError(
            f"{stage.key_path}.train: {globs} has no parameters, so there is nothing to train; choose another encoder"
        )
    for glob in stage.config.lr_scale:
        if not any(matches(name, glob) for name in trainable):
            raise ConfigError(f"{stage.key_path}.lr_scale: '{glob}' matches no parameter that this stage trains")
    return frozenset(trainable)


def relative_heights(names: Iterable[str]) -> dict[str, float]:
    """Return how high in its encoder each parameter lies: above 0, 1 at the output. All others are at 1.

    The order is that in which an encoder's modules were built, which is the order of its layers in timm, in
    transformers and here.

    Args:
        names: all parameters of the model, in the order of its modules.
    """
    position: dict[str, float] = {}
    modules: dict[str, list[str]] = {}  # by encoder, first to last
    for name in names:
        encoder, module = _encoder_of(name), name.rpartition(".")[0]
        known_modules = modules.setdefault(encoder, [])
        if module not in known_modules:
            known_modules.append(module)
        position[name] = float(known_modules.index(module) + 1)
    heights = {}
    for name, place in position.items():
        heights[name] = place / len(modules[_encoder_of(name)]) if name.startswith("encoder.") else 1.0
    return heights


def _encoder_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def outline(names: Iterable[str]) -> str:
    """Return the first two levels of parameter names, for an error: encoder.image, encoder.text, fusion.project ..."""
    return ", ".join(sorted({_encoder_of(name) for name in names}))


# ------------------------------------------------------------------------------------------------- learning rates


def layer_depths(module: nn.Module) -> dict[str, int]:
    """Return, by parameter name, how many layers lie between a parameter and the module's output, from 1 on.

    A layer is a child of the outermost `ModuleList` or `Sequential`s (a transformer block, a stage of convolutions);
    what stands before, between or after them (stem, embeddings, final norm) forms layers of its own. Without any such
    block, each child of the module is a layer.

    Args:
        module: an encoder.
    """
    names = [name for name, _ in module.named_parameters()]
    layer_of = {name: _layer_of(module, name) for name in names}
    if not any(layer_of.values()):
        layer_of = {name: name.partition(".")[0] for name in names}
    layers: list[list[str]] = []
    previous = ""
    for name, layer in layer_of.items():
        if not layers or layer != previous:
            layers.append([])
        layers[-1].append(name)
        previous = layer
    return {name: len(layers) - number for number, names in enumerate(layers) for name in names}


def _layer_of(module: nn.Module, parameter: str) -> str:
    """Return the path of the block that holds a parameter, or "" outside of all blocks."""
    parts = parameter.split(".")
    for length, part in enumerate(parts[:-1], start=1):
        parent = module
        module = module.get_submodule(part)
        if isinstance(parent, nn.ModuleList | nn.Sequential):
            return ".".join(parts[:length])
    return ""


def lr_decays(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Return the factor on the learning rate of each encoder parameter: layer_decay ** depth.

    `layer_decay` is timm's: the factor from one layer to the next, counted from the output (0.65 to 0.75 is usual;
    Clark et al., 2020; Bao et al., 2022). An encoder's last layer has `layer_decay` itself; fusion, heads and probes
    train at the full rate.

    Args:
        model: a `Multimodal`; its children `encoder.<modality>` are decayed.
        layer_decay: above 0, and 1 for no decay.
    """
    factors = {}
    for modality, encoder in model.get_submodule("encoder").named_children():
        for name, depth in layer_depths(encoder).items():
            factors[f"encoder.{modality}.{name}"] = layer_decay**depth
    return factors


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    lr_scale: Mapping[str, float],
    lr: float,
    decays: Mapping[str, float] | None = None,
    without_weight_decay: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return one optimizer group per learning rate, or two; `base_lr` is what the schedule multiplies.

    Args:
        named_parameters: those to train.
        lr_scale: factor on the learning rate by glob; the last matching glob counts.
        lr: learning rate.
        decays: further factors by parameter name; 1 where there is none.
        without_weight_decay: names of parameters that the optimizer's weight decay leaves out.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters:
        scale = 1.0
        for glob, factor in lr_scale.items():
            if matches(name, glob):
                scale = factor
        scale *= (decays or {}).get(name, 1.0)
        groups.setdefault((scale, name in without_weight_decay), []).append(parameter)
    settings: list[dict[str, Any]] = []
    for (scale, is_without), params in groups.items():
        decay = {"weight_decay": 0.0} if is_without else {}
        settings.append({"params": params, "lr": lr * scale, "base_lr": lr * scale, **decay})
    return settings


EMBEDDINGS = ("embed", "token", "position")  # in the last part of the name of a parameter that no module wraps


def parameters_without_weight_decay(model: nn.Module, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> set[str]:
    """Return the names of biases, of the scales of norms, and of embeddings, which weight decay should not shrink.

    This is the usual practice: timm and transformers leave them out, too.

    Args:
        model: whose modules tell which weights are embeddings.
        named_parameters: to choose from; those of an objective have names of their own.
    """
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    names = set()
    for name, parameter in named_parameters:
        last_part = name.rpartition(".")[2]
        is_embedding = name in embeddings or any(part in last_part for part in EMBEDDINGS)
        if parameter.ndim <= 1 or last_part == "bias" or is_embedding:
            names.add(name)
    return names
